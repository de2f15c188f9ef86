"""The README's commands for data, run as they stand there, and what they promise about files and people."""
import json, re, shlex
from pathlib import Path

import pytest
from enterprise_lm.core.artifact import load
from enterprise_lm.core.settings import Settings, get_settings
from enterprise_lm.data.corpus import Corpus
from enterprise_lm.data.label_export import corpus_key
from enterprise_lm.data.labels import store_label
from enterprise_lm.data.subjects import subject_key

root = Path(__file__).resolve().parents[1]
mail = ('From ann@loom.example Mon Nov  2 10:00:00 2026\nFrom: Ann <ann@loom.example>\nDate: Mon, 2 Nov 2026 10:00:00 +0000\nSubject: lamp\n'
        'Message-ID: <{n}@loom.example>\n\nMy lamp number {n} is dark since {n} days, and I would like to know what to do about it.\n\n')


def label_some(workspace, path, rows=5, person='nobody'):
    "Labels as two people give them on the screen, first of the texts of a person."
    corpus, settings = Corpus.load(path), get_settings(workspace)
    side = sorted(corpus['train'].rows(), key=lambda row: row['subject'] != subject_key(person, settings))
    for row in side[:rows]:
        for who in ('Ann', 'Bo'): store_label(row['id'], corpus_key(corpus), 'urgency', 'calm', who, settings=settings)


@pytest.fixture(scope='module')
def workspace(tmp_path_factory):
    "A folder with what the README's commands read."
    folder = tmp_path_factory.mktemp('readme')
    (folder/'settings.ini').write_text('[privacy]\nkey = file:privacy.key\n')   # which side a person's rows come to follows from the key
    (folder/'privacy.key').write_text('the same key in every run\n')
    (folder/'mail').mkdir()
    (folder/'mail'/'inbox.mbox').write_text(''.join(mail.format(n=n) for n in range(2, 6)))
    (folder/'letters.csv').write_text('id,text,label\n' + ''.join(f'{n},"my lamp is dark, write to customer{n}@loom.example please, or ring 13300000{n:03}",device\n' for n in range(100, 140)))
    return folder


def test_every_data_command_of_the_readme(workspace, run_elm):
    readme = (root/'README.md').read_text(encoding='utf-8')
    block = next(b for b in re.findall(r'```sh\n(.*?)```', readme, re.S) if 'elm prepare' in b)
    lines = [shlex.split(line, comments=True) for line in block.splitlines() if line.startswith('elm ')]
    assert len(lines) == 16
    answers = {}
    for words in lines:
        arguments = [str(p) if '*' in a else a for a in words[1:] for p in (sorted(workspace.glob(a)) if '*' in a else [a])]
        if arguments[0] == 'labels': label_some(workspace, answers['merge']['path'], person='person-001')
        answers['augment corpus' if 'desk' in arguments and arguments[0] == 'augment' else arguments[0]] = run_elm(*arguments, '--json', folder=workspace).answer
    assert answers['prepare']['rows']['train'] > 200 and any(f['stage'] == 'intake' for f in answers['prepare']['funnel'])
    assert answers['diff']['same'] and answers['redact']['types']['EMAIL'] == 40 and answers['dedupe']['rows'] == 40
    assert answers['augment']['added'] > 0 and answers['concepts']['concepts'] > 20
    assert answers['refresh']['digest'] == answers['prepare']['digest'] and answers['refresh']['files']['new'] == []
    assert answers['merge']['rows']['train'] > answers['prepare']['rows']['train'] and answers['labels']['rows'] == 5
    longer = answers['augment corpus']
    assert longer['added'] > 0 and longer['rows'] == answers['merge']['rows']['train'] and longer['output'] == f"desk-longer@{longer['digest'][:12]}"
    kinds = {h['kind'] for h in answers['subject']['holdings']}   # the concepts quote its texts, a file was made of them
    assert kinds == {'corpus', 'cache', 'concepts', 'file', 'labels', 'profile'}
    findings = [json.loads(line) for line in open(workspace/'masked.csv.findings.jsonl')]
    assert set(findings[0]) == {'id', 'start', 'end', 'type', 'text_sha256', 'score', 'rule'}
    clusters = [json.loads(line) for line in open(workspace/answers['dedupe']['clusters_file'])]
    assert clusters and set(clusters[0]) == {'kept', 'dropped', 'similarity'}


@pytest.mark.parametrize('arguments, says', [
    (['prepare', 'nowhere.csv', '--output', 'x'], 'nowhere.csv'), (['prepare', 'letters.csv', '--output', 'x', '--preparation', 'standrd'], 'standard'),
    (['inspect', 'tikets'], 'unknown corpus'), (['redact', 'letters.csv', '--output', 'letters.csv'], 'letters.csv'),
    (['redact', 'letters.csv', '--output', 'y.csv', '--action', 'mangle'], 'mask'), (['dedupe', 'letters.csv', '--output', 'y.csv', '--threshold', '7'], '7'),
    (['convert', 'letters.csv', 'y.docx'], 'docx'), (['augment', 'sample://support', '--output', 'y.doc'], 'y.doc'), (['concepts', 'query', 'nothing', 'lamp'], 'nothing'),
    (['subject', ' '], 'no person'), (['merge', 'letters.csv', '--output', 'one'], 'two sources'), (['merge', 'letters.csv', 'tikets', '--output', 'one'], 'tikets'),
    (['merge', 'letters.csv', 'tickets@99', '--output', 'one'], 'tickets@99'), (['refresh', 'tikets', 'letters.csv'], 'unknown corpus'),
    (['labels', 'export', 'tikets', 'x.csv', '--task', 'urgency'], 'unknown corpus'), (['augment', 'letters@1', '--output', 'y.csv'], 'letters')])
def test_a_wrong_call_is_one_sentence(workspace, run_elm, arguments, says):
    done = run_elm(*arguments, folder=workspace, code=2)
    assert done.stderr.startswith('elm: ') and says in done.stderr and 'Traceback' not in done.stderr


def test_a_binary_file_called_csv_leaves_nothing_behind(workspace, run_elm):
    (workspace/'binary.csv').write_bytes(bytes(range(256)) * 40)
    done = run_elm('prepare', 'binary.csv', '--output', 'binary', folder=workspace, code=2)
    assert 'binary.csv is a binary file' in done.stderr
    assert not [p for p in (workspace/'workspace').rglob('*') if 'binary' in p.name or p.name.startswith('.draft')]


def test_pseudonyms_stay_the_same_and_encryption_can_be_undone(workspace, run_elm, monkeypatch):
    for name in ('one', 'two'): run_elm('redact', 'letters.csv', '--output', f'{name}.jsonl', '--action', 'pseudonymise', '--json', folder=workspace)
    assert (workspace/'one.jsonl').read_text() == (workspace/'two.jsonl').read_text()
    run_elm('redact', 'letters.csv', '--output', 'sealed.jsonl', '--action', 'encrypt', '--json', folder=workspace)
    monkeypatch.chdir(workspace)
    from enterprise_lm.data.actions import decrypt
    from enterprise_lm.data.subjects import key
    sealed = [json.loads(line)['text'] for line in open('sealed.jsonl')]
    assert 'loom.example' not in sealed[0] and 'customer100@loom.example' in decrypt(sealed[0], key())


def test_a_corpus_is_augmented_refreshed_merged_and_labelled_by_name(tmp_path, run_elm):
    def write(name, rows): (tmp_path/name).write_text('id,text,label\n' + ''.join(f'{n},{name} lamp {n} is dark since {n * 7} days 第{n}盏灯不亮了,device\n' for n in rows), encoding='utf-8')
    write('mon.csv', range(60)); write('tue.csv', range(60, 90))
    first = run_elm('prepare', 'mon.csv', '--output', 'lamps', '--preparation', 'as_is', '--json', folder=tmp_path).answer
    next_ = run_elm('refresh', 'lamps', 'mon.csv', 'tue.csv', '--json', folder=tmp_path).answer
    assert next_['previous'] == f"lamps@{first['digest'][:12]}" and next_['files'] | {} == dict(new=['tue.csv'], gone=[], changed=[], same=['mon.csv'])
    full = run_elm('prepare', 'mon.csv', 'tue.csv', '--output', 'lamps', '--preparation', 'as_is', '--json', folder=tmp_path).answer
    assert full['digest'] == next_['digest']
    longer = run_elm('augment', 'lamps@1', '--output', 'longer', '--copies', '1', '--json', folder=tmp_path).answer
    before, after = Corpus.load(first['path']), Corpus.load(longer['path'])
    assert len(after['train']) == len(before['train']) + longer['added'] and longer['added'] > 0
    assert all(after[s].texts == before[s].texts for s in ('validation', 'test')) and [p['digest'] for p in load(longer['path']).parents] == [first['digest']]
    for wrong, says in ((['lamps', '--output', 'lamps.csv'], 'without .csv'), (['lamps', '--output', 'x', '--text', 'text'], 'leave --text'),
                        (['longer', '--output', 'x'], 'augmented already'), (['lamps@9', '--output', 'x'], 'unknown version')):
        assert says in run_elm('augment', *wrong, folder=tmp_path, code=2).stderr
    joined = run_elm('merge', 'lamps@1', './tue.csv', '--output', 'joined', '--json', folder=tmp_path).answer
    assert sum(joined['rows'].values()) == 90 and any(s.startswith(f"lamps@{first['digest'][:12]}/") for s in Corpus.load(joined['path'])['train'].table['source'].to_pylist())
    label_some(tmp_path, first['path'])
    done = run_elm('labels', 'export', 'lamps@1', 'labels.csv', '--task', 'urgency', '--json', folder=tmp_path).answer
    assert done['rows'] == 5 and 'Ann' not in (tmp_path/'labels.csv').read_text(encoding='utf-8-sig')
    assert 'nobody has labelled' in run_elm('labels', 'export', 'lamps', 'labels.csv', '--task', 'urgency', folder=tmp_path, code=2).stderr


def test_augment_reads_a_database(tmp_path, run_elm):
    import sqlite3
    with sqlite3.connect(tmp_path/'shop.db') as base:
        base.execute('create table mail (text text, label text)')
        base.executemany('insert into mail values (?, ?)', [(f'my lamp number {n} is dark since the storm', 'device') for n in range(20)])
    done = run_elm('augment', 'sqlite:///shop.db#select text, label from mail order by text', '--output', 'more.jsonl', '--copies', '1', '--json', folder=tmp_path).answer
    assert done['rows'] == 20 and done['added'] > 0


def test_no_password_reaches_a_concept_library(tmp_path, monkeypatch):
    from enterprise_lm.data import concept_library
    monkeypatch.setattr(concept_library, 'corpus_rows', lambda source: [dict(id=str(n), text='the lamp of the shop', language='en', source='x') for n in range(5)])
    made = concept_library.build_library('postgresql://ann:hunter2@db.example/shop#SELECT text FROM mail', 'terms', tagger=None, root=tmp_path, settings=Settings(root=tmp_path))
    assert not any(b'hunter2' in p.read_bytes() or 'hunter2' in p.name for p in tmp_path.rglob('*') if p.is_file())
    assert any(f.startswith('parts/postgresql-shop-') for f in made.files)


def test_a_corpus_is_verified_and_shown_by_its_name(run_elm, tmp_path):
    (tmp_path/'信.jsonl').write_text(''.join(json.dumps(dict(text=f'台灯 {n} does not light', label='ab'[n % 2])) + '\n' for n in range(40)), encoding='utf-8')
    made = run_elm('prepare', '信.jsonl', '--output', 'desk', '--json', folder=tmp_path).answer
    assert run_elm('verify', 'desk', '--json', folder=tmp_path).answer['ok']
    assert run_elm('show', 'desk', '--json', folder=tmp_path).answer['digest'] == run_elm('show', made['digest'][:8], '--json', folder=tmp_path).answer['digest']


def test_a_mailbox_beside_tickets_is_kept_and_a_refresh_takes_it_up(workspace, run_elm):
    (workspace/'box').mkdir(); (workspace/'box'/'one.mbox').write_text(''.join(mail.format(n=n) for n in range(10, 30)))
    first = run_elm('prepare', 'sample://tickets', 'box', '--output', 'desk2', '--json', folder=workspace).answer
    (workspace/'box'/'two.mbox').write_text(''.join(mail.format(n=n).replace('is dark', 'blinks and hums') for n in range(40, 45)))
    second = run_elm('refresh', 'desk2', 'sample://tickets', 'box', '--json', folder=workspace).answer
    bare, = [f for f in first['findings'] if f['rule'] == 'no label']
    assert bare['count'] > 0 and 'one.mbox' in bare['detail'] and (second['files_read'], second['files_reused']) == (1, 2)
    shown = run_elm('refresh', 'desk2', 'sample://tickets', 'box', folder=workspace)
    assert shown.stdout.splitlines() == [f"desk2@{second['digest'][:12]} stays as it is: 0 new, 0 gone, 0 changed, 3 same files"] and not shown.stderr
    dropped = run_elm('prepare', 'sample://tickets', 'box', '--output', 'desk3', '--unlabelled', 'drop', '--json', folder=workspace).answer
    assert sum(dropped['rows'].values()) < sum(second['rows'].values())


def test_advice_can_be_typed_as_it_stands(workspace, run_elm):
    (workspace/'bad.jsonl').write_text('{"text": "my lamp is dark now"}\n' * 3 + ''.join(f'{{"text": "my lamp number {n} went dark"}}\n' for n in range(5)) + 'broken\n' * 9)
    refused = run_elm('prepare', 'bad.jsonl', '--output', 'bad', folder=workspace, code=2).stderr
    option, share = re.search(r'(--rejected-limit) (0\.\d+)', refused).groups()
    assert '9 of 17 rows' in refused and run_elm('prepare', 'bad.jsonl', '--output', 'bad', option, share, '--json', folder=workspace).answer['rejected'] == 9
    folded = run_elm('prepare', 'letters.csv', '--output', 'folded', '--preparation', 'as_is', '--cleaning', 'numbers,case', '--split-by', 'ratio', '--no-cache', '--json', folder=workspace).answer
    assert load(folded['path']).parameters['preparation']['cleaning'] == 'numbers, case'
    for words, says in ((['prepare', 'letters.csv', '--output', ''], 'no name'), (['prepare', 'letters.csv', '--output', '-x'], 'no name'), (['diff', 'folded', 'folded', '--most', '-5'], '--most -5'),
                        (['prepare', 'letters.csv', '--output', 'y', '--split-by', 'time'], '--split-by'), (['prepare', 'letters.csv', '--output', 'y', '--rejected-limit', '7'], '--rejected-limit 7'),
                        (['prepare', 'letters.csv', '--output', 'y', '--preparation', 'web'], 'no text is left for train in letters.csv: of 40 rows left out by rules 40')):
        assert says in run_elm(*words, folder=workspace, code=2).stderr, words


def test_limits_fail_a_build(workspace, run_elm):
    (workspace/'licensed.csv').write_text('text,label,licence\n' + ''.join(f'my lamp number {n} is dark,a,{"CC0-1.0" * (n > 15)}\n' for n in range(20)) + 'long ' * 900 + ',a,CC0-1.0\n')
    (workspace/'again.csv').write_text('text,label\n' + ''.join(f'my lamp number {n} is dark,a\n' for n in range(5)))
    for words, says in ((['--missing-limit', '0.5'], 'no licence'), (['--outliers-limit', '0.01'], 'far longer'), (['--test', 'again.csv', '--overlap-limit', '0.1'], '5 of 21 training rows')):
        assert says in (said := run_elm('prepare', 'licensed.csv', '--output', 'l', '--preparation', 'as_is', *words, folder=workspace, code=2).stderr) and words[-2] in said


def test_merge_and_refresh_are_steps(workspace, run_elm):
    for name, numbers in (('a', range(20)), ('b', range(30, 60))): (workspace/f'{name}.jsonl').write_text(''.join(json.dumps(dict(text=f'lamp {n * 7919} is dark', label='ab'[n % 2])) + '\n' for n in numbers))
    step = lambda called, /, **given: f"  {called}: {{notebook: {root/'pipelines'}/{given.pop('notebook')}.ipynb, parameters: {json.dumps(given)}}}\n"
    (workspace/'three.yaml').write_text('preload: []\nsteps:\n' + step('first', notebook='prepare_corpus', data='a.jsonl', name='a', unlabelled='drop', missing_limit=.9)
                                        + step('again', notebook='refresh_corpus', corpus='${first.corpus}', data=['a.jsonl', 'b.jsonl'])
                                        + step('both', notebook='merge_corpora', sources=['${again.corpus}', 'sample://help'], name='both', unlabelled='keep'))
    run_elm('run', 'three.yaml', '--json', folder=workspace)
    both = Corpus.load(max((workspace/'workspace'/'artifacts'/'corpus').glob('both-*')))
    assert both.labels == ['a', 'b'] and sum(len(both[s]) for s in both.splits) > 50 and any(f['rule'] == 'no label' for f in both.findings)


def test_a_name_means_the_same_to_a_command_and_a_step(tmp_path, monkeypatch):
    from enterprise_lm.core.errors import UserError
    from enterprise_lm.data.corpus import prepare
    from enterprise_lm.data.refresh import find_corpus, named_source
    from enterprise_lm.pipelines.inputs import resolve_source
    monkeypatch.chdir(tmp_path)
    made = prepare('sample://support', name='mail')
    for name in ('mail', 'mail@1', f'mail@{made.short}', made.short[:6]):
        assert find_corpus(name) == made and named_source(name) == resolve_source(name) == str(made.path)
        assert named_source(f'{name}#train') == resolve_source(f'{name}#train') == f'{made.path}#train'
    for ask in (named_source, resolve_source):
        with pytest.raises(UserError, match='unknown version'): ask('mail@7')
    (tmp_path/'mail').mkdir(); (tmp_path/'mail'/'a.txt').write_text('the lamp is dark\n')
    with pytest.raises(UserError, match='say ./mail'): named_source('mail')
    assert named_source('mail', path_first=True) == 'mail' and resolve_source('mail') == str(tmp_path/'mail') and named_source('mail@1') == str(made.path)
    query = f"env:SHOP#SELECT {'text, ' * 99}id FROM mail WHERE sender LIKE '%@%'"
    assert named_source(query) == query
