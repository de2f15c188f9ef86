"""Each data command is a step too: the text pipeline ends twice with the same digests, and every other step hands on what it promises."""
import json
from pathlib import Path

import pytest
from enterprise_lm.core.artifact import load
from enterprise_lm.core.errors import UserError
from enterprise_lm.core.settings import Settings
from enterprise_lm.data.corpus import Corpus, prepare
from enterprise_lm.pipelines.parameters import check, outputs
from enterprise_lm.pipelines.step import run_step, warm
from enterprise_lm.subjects import erase, find_subject

root = Path(__file__).resolve().parents[1]
steps = root/'pipelines'
support = root/'enterprise_lm'/'data'/'samples'/'support'
preload = ('enterprise_lm.pipelines.engine', 'matplotlib.pyplot', 'matplotlib_inline.backend_inline', 'pandas', 'enterprise_lm.data.corpus')


def some_support(path, rows=60):
    "The first rows in each language, one of them twice."
    lines = [line for name in ('en', 'zh') for line in (support/f'{name}.jsonl').read_text(encoding='utf-8').splitlines()[:rows]]
    copy = json.loads(lines[0]) | dict(id='again')
    path.write_text('\n'.join([*lines, json.dumps(copy)]) + '\n', encoding='utf-8')
    return path


class Workspace:
    "A folder in which single steps run."
    def __init__(self, root):
        self.root, self.runs = root, 0
        (root/'settings.ini').write_text('[workspace]\nhome = workspace\n')

    def outcome(self, notebook, **given):
        values, self.runs = check(steps/f'{notebook}.ipynb', given), self.runs + 1
        self.executed = self.root/f'{self.runs}-{notebook}.ipynb'
        return run_step(steps/f'{notebook}.ipynb', self.executed, values, cwd=self.root, preload=preload, time_limit=100)

    def run(self, notebook, **given):
        ended = self.outcome(notebook, **given)
        assert ended.state == 'done', ended.error + ended.details
        assert list(ended.outputs) == outputs(steps/f'{notebook}.ipynb')
        made = {name: load(o['path']) for name, o in ended.outputs.items()}
        for artifact in made.values():      # no path of a machine in what is handed on
            for file in (*artifact.files, 'manifest.json'): assert str(self.root).encode() not in artifact.file(file).read_bytes(), file
        return made

    def twice(self, notebook, **given):
        one, two = self.run(notebook, **given), self.run(notebook, **given)
        assert {n: a.digest for n, a in one.items()} == {n: a.digest for n, a in two.items()}
        return one


def lines(path): return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


@pytest.fixture(scope='module')
def workspace(tmp_path_factory):
    with warm(preload): yield Workspace(tmp_path_factory.mktemp('steps'))


@pytest.fixture(scope='module')
def corpora(workspace):
    "Two versions of a small corpus."
    data, place = some_support(workspace.root/'support.jsonl', 40), workspace.root/'workspace'/'artifacts'
    newer = [json.loads(line) for line in data.read_text(encoding='utf-8').splitlines()][3:]
    (workspace.root/'newer.jsonl').write_text('\n'.join(json.dumps(r, ensure_ascii=False) for r in newer), encoding='utf-8')
    return [prepare(f, name='support', root=place) for f in (data, workspace.root/'newer.jsonl')]


def test_text_pipeline_ends_twice_with_the_same_digests(run_elm, tmp_path):
    data = some_support(tmp_path/'support.jsonl')
    (tmp_path/'empty').mkdir()
    def run(*more): return run_elm('run', 'text', '-p', f'data={data}', *more, '--json', folder=tmp_path/'empty').answer
    def digests(answer): return {f'{s}.{n}': o['digest'] for s, found in recorded(answer).items() for n, o in found.items()}
    def recorded(answer):
        read = json.loads((tmp_path/'empty'/'workspace'/'runs'/answer['run']/'run.json').read_text(encoding='utf-8'))
        return {s['name']: s['outputs'] for s in read['steps']}
    def states(answer): return {s['name']: s['state'] for s in answer['steps']}
    first, second, forced = run(), run(), run('--force')
    assert first['ok'] and states(first) == states(forced) == dict.fromkeys(('prepare', 'inspect', 'concepts', 'augment'), 'done')
    assert set(states(second).values()) == {'cached'}
    assert digests(first) == digests(second) == digests(forced)
    made = {n: load(next(iter(o.values()))['path']) for n, o in recorded(first).items()}
    assert {n: a.kind for n, a in made.items()} == dict(prepare='corpus', inspect='quality', concepts='concepts', augment='corpus')
    before, after = Corpus.load(made['prepare']), Corpus.load(made['augment'])
    assert sum(len(before[s]) for s in before.splits) == 120 and any('duplicate' in f['rule'] for f in before.findings)
    assert len(after['train']) > len(before['train']) and after['test'].texts == before['test'].texts
    assert made['inspect'].json('quality.json')['score'] > .5 and 'measured/coverage.png' in made['inspect'].manifest['measured']
    graph = run_elm('graph', 'text', folder=tmp_path/'empty').stdout
    assert all(step in graph for step in made)


def test_old_pipelines_change_no_text():
    for pipeline in ('intent', 'language_model'): assert 'preparation: {default: as_is,' in (steps/f'{pipeline}.yaml').read_text(encoding='utf-8')
    assert check(steps/'prepare_corpus.ipynb')['preparation'] == 'as_is'


def test_inspect_fails_below_the_minimum(workspace, corpora):
    passed = workspace.run('inspect_corpus', corpus=corpora[0].path, minimum=0)['quality']
    score = passed.json('quality.json')['score']
    failed = workspace.outcome('inspect_corpus', corpus=corpora[0].path, minimum=1.)
    assert failed.state == 'failed' and failed.error.startswith('UserError: corpus support scores') and f'{score:.2f}' in failed.error
    assert 'weakest part' in failed.error and len(list(passed.path.parent.glob('[!.]*'))) == 1


def test_compare(workspace, corpora):
    changes = workspace.twice('compare_corpora', before=corpora[0].path, after=corpora[1].path)['changes']
    assert changes.json('changes.json')['counts']['removed'] == 3 and {p['digest'] for p in changes.parents} == {c.digest for c in corpora}


def test_redact(workspace):
    tickets = root/'enterprise_lm'/'data'/'samples'/'tickets'/'tickets.jsonl'
    some = workspace.root/'tickets.jsonl'
    some.write_text('\n'.join([*tickets.read_text(encoding='utf-8').splitlines()[:20], 'not a row of philippa@thornberrynash.example']), encoding='utf-8')
    made = workspace.twice('redact_text', data=some)
    texts, findings = [r['text'] for r in lines(made['redacted'].file('redacted.jsonl'))], lines(made['redacted'].file('findings.jsonl'))
    assert len(texts) == 20 and not any('@' in t or 'Thornberry' in t for t in texts) and {'EMAIL', 'PERSON'} <= {f['type'] for f in findings}
    assert sorted(made['redacted'].files) == ['findings.jsonl', 'redacted.jsonl']      # what could not be read was not redacted: apart
    assert len(lines(made['rejected'].file('rejected.jsonl'))) == 1
    assert 'thornberrynash' not in workspace.executed.read_text(encoding='utf-8')


def test_draw_rows_and_count_vocabulary(workspace, corpora):
    data = some_support(workspace.root/'all.jsonl', 40)
    drawn = workspace.twice('draw_rows', data=data, size=8, by='language', format='csv')['sample']
    assert len(drawn.file('sample.csv').read_text(encoding='utf-8').splitlines()) == 9
    made = workspace.twice('count_vocabulary', corpus=corpora[0].path)['vocabulary']
    assert made.json('unknown.json')['test']['rate'] > 0 and '\t' in made.file('words.txt').read_text(encoding='utf-8')


def test_remove_duplicates_and_convert(workspace):
    data = some_support(workspace.root/'twice.jsonl', 40)
    kept = workspace.twice('remove_duplicates', data=data, format='csv')['deduplicated']
    assert {'deduplicated.csv', 'clusters.jsonl'} <= set(kept.files) and any({'again'} & set(map(str, c.values())) or 'again' in json.dumps(c)
                                                                         for c in lines(kept.file('clusters.jsonl')))
    written = workspace.twice('convert_text', data=kept.file('deduplicated.csv'), format='parquet', keep=['id', 'text'])['converted']
    back = workspace.run('convert_text', data=written.file('converted.parquet'), name='back')['converted']
    rows = lines(back.file('back.jsonl'))
    assert set(rows[0]) == {'id', 'text'} and 80 - len(rows) < 10 and 'again' not in {r['id'] for r in rows}
    folder = workspace.run('convert_text', data=data, format='md', name='documents')['converted']
    assert len(folder.files) == 81


def test_a_corpus_is_the_parent_of_what_is_made_of_it(workspace, corpora):
    for notebook, output in (('convert_text', 'converted'), ('remove_duplicates', 'deduplicated'), ('redact_text', 'redacted')):
        assert [p['digest'] for p in workspace.run(notebook, data=corpora[0].path)[output].parents] == [corpora[0].digest]


def test_find_subject_leaves_no_trace(run_elm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [json.loads(line) | dict(subject=f'person-{n % 20:03}') for n, line in enumerate((support/'en.jsonl').read_text(encoding='utf-8').splitlines()[:100])]
    (tmp_path/'data.jsonl').write_text('\n'.join(map(json.dumps, rows)), encoding='utf-8')
    (tmp_path/'settings.ini').write_text('')
    settings = Settings(root=tmp_path)
    made = prepare(tmp_path/'data.jsonl', name='support', root=settings.folder('artifacts'))
    def look(): return run_elm('run', 'subject', '--json', folder=tmp_path, SUBJECT='person-007').answer
    def plan(answer):
        read = json.loads((tmp_path/'workspace'/'runs'/answer['run']/'run.json').read_text(encoding='utf-8'))
        return load(read['steps'][0]['outputs']['erasure_plan']['path'])
    one, two = look(), look()
    assert [s['state'] for a in (one, two) for s in a['steps']] == ['done', 'done']        # never from the cache
    found = plan(one)
    assert plan(two).digest == found.digest and found.json('plan.json')['rows'] > 0
    assert found.json('plan.json')['steps'][0]['name'] == f'support@{made.short}'
    certificate = erase('person-007', None, settings).json('erasure.json')
    assert certificate['complete'], certificate['still_there']      # the plan and its notebook hold nothing of her
    assert not find_subject('person-007', settings).holdings
    assert not any(b'person-007' in p.read_bytes() for p in (tmp_path/'workspace').rglob('*') if p.is_file())
    refused = run_elm('run', 'subject', folder=tmp_path, code=2, SUBJECT='').stderr
    assert 'SUBJECT is not set' in refused


def letters(path, rows):
    "A database with a table of letters."
    import sqlite3
    with sqlite3.connect(path) as base:
        base.execute('create table if not exists mail (id integer primary key, text text, label text)')
        base.executemany('insert into mail (text, label) values (?, ?)', [(f'my lamp number {n} is dark since day {n * 7}', 'device') for n in rows])
    return f'sqlite:///{path}#SELECT id, text, label FROM mail ORDER BY id'


def test_a_step_reads_whatever_the_command_reads(workspace, corpora, monkeypatch):
    monkeypatch.chdir(workspace.root)
    source = letters(workspace.root/'shop.db', range(20)).replace(f'{workspace.root}/', '')
    assert source.startswith('sqlite:///shop.db#')                  # relative to the caller, not to the step
    written = workspace.twice('convert_text', data=source)['converted']
    assert len(lines(written.file('converted.jsonl'))) == 20 and not written.parents
    train = workspace.run('convert_text', data=f'{corpora[0].path}#train', name='train')['converted']
    assert len(lines(train.file('train.jsonl'))) == len(Corpus.load(corpora[0])['train']) and train.parents[0]['digest'] == corpora[0].digest
    assert 'object' in workspace.run('remove_duplicates', data='docstrings://json.decoder')['deduplicated'].file('deduplicated.jsonl').read_text().lower()
    terms = workspace.run('build_concepts', corpus=f'{corpora[0].path}#train', name='terms')['concepts']
    assert corpora[0].digest in {p['digest'] for p in terms.parents}
    monkeypatch.setenv('SHOP', f"sqlite:///{workspace.root/'shop.db'}")
    assert workspace.run('prepare_corpus', data='env:SHOP#' + source.partition('#')[2], name='shop')['corpus'].name == 'shop'


@pytest.mark.parametrize('source, says', [('postgresql://ann:hunter2@db.example/shop#SELECT text FROM mail', 'env:NAME'), ('sqlite:///none.db#SELECT 1', 'none.db'),
                                          ('env:NOWHERE#SELECT 1', 'NOWHERE'), ('docstrings://no_such_package', 'no_such_package'), ('hub://a/b/c/d', 'names no data set'),
                                          ('nowhere.csv', 'no file or folder')])
def test_a_source_that_cannot_be_read_is_refused_before_the_run(source, says):
    for notebook in ('convert_text', 'redact_text', 'remove_duplicates', 'prepare_corpus'):
        with pytest.raises(UserError, match=says) as refused: check(steps/f'{notebook}.ipynb', dict(data=source))
        assert 'hunter2' not in str(refused.value)


def test_a_step_that_reads_a_database_runs_every_time_and_what_follows_is_cached(run_elm, tmp_path):
    (tmp_path/'one.yaml').write_text(f"preload: []\nparameters: {{data: sample://support}}\nsteps:\n  convert: {{notebook: {steps/'convert_text.ipynb'}, parameters: {{data: '${{data}}'}}}}\n"
                                     f"  thin: {{notebook: {steps/'remove_duplicates.ipynb'}, parameters: {{data: '${{convert.converted}}/converted.jsonl'}}}}\n")
    source = letters(tmp_path/'shop.db', range(12))
    def states(data): return [s['state'] for s in run_elm('run', 'one.yaml', '-p', f'data={data}', '--json', folder=tmp_path).answer['steps']]
    assert [states(source), states(source)] == [['done', 'done'], ['done', 'cached']]
    letters(tmp_path/'shop.db', range(12, 15))
    assert states(source) == ['done', 'done']
    assert [states('docstrings://json.decoder') for _ in range(2)] == [['done', 'done'], ['cached', 'cached']]
    refused = run_elm('run', 'one.yaml', '-p', 'data=postgresql://ann:hunter2@db.example/shop#SELECT 1', folder=tmp_path, code=2)
    assert 'hunter2' not in refused.stderr and not any(b'hunter2' in p.read_bytes() for p in tmp_path.rglob('*') if p.is_file())


def test_a_concept_library_is_edited_asked_exported_and_used_in_steps(workspace, monkeypatch):
    monkeypatch.chdir(workspace.root)
    (workspace.root/'slips.csv').write_text('title_x,body_x\n' + ''.join(f'{n},the batery of lamp {n} is flat\n' for n in range(30)))
    built = workspace.run('build_concepts', corpus='slips.csv', name='slips', text='body_x', part='monday')['concepts']
    assert built.measurements['built']['monday']['text'] == 'body_x'
    edited = workspace.run('edit_concepts', name='slips', action='add', term='battery', who='Ann')['concepts']
    edited = workspace.run('edit_concepts', name='slips', action='merge', term='batery', other='battery', who='Ann')['concepts']
    found = json.loads(workspace.run('query_concepts', name='slips', text='my batery')['answer'].file('answer.json').read_text(encoding='utf-8'))
    assert [m['label'] for m in found['mentions'] if m['text'] == 'batery'] == ['battery']
    exported = workspace.run('export_concepts', name='slips')['exported']
    assert 'batery' in exported.file('slips.ttl').read_text(encoding='utf-8') and exported.parents[0]['digest'] == edited.digest
    taken = workspace.run('import_concepts', file=str(exported.file('slips.ttl')), into='copy', who='Ann')['concepts']
    assert taken.name == 'copy'
    made = workspace.twice('prepare_corpus', data='slips.csv', name='slips', text='body_x', terms='slips', alternatives=True)['corpus']
    assert all('battery' in t for t in Corpus.load(made)['train'].texts) and edited.digest in {p['digest'] for p in made.parents}


def test_augment_takes_a_file_or_a_corpus(workspace, corpora):
    data = workspace.root/'calls.csv'
    data.write_text('ticket,text,label\n1,the black man met the muslim woman,talk\n2,my lamp is dark,device\n', encoding='utf-8')
    longer = workspace.run('augment_text', data=data, operators='counterfactual:religion', format='csv', name='calls')['augmented']
    assert longer.kind == 'augmented' and longer.file('calls.csv').read_text(encoding='utf-8').count('jewish') == 1 and ',ticket,' in longer.file('calls.csv').read_text(encoding='utf-8')
    words = workspace.root/'words.txt'
    words.write_text('order, purchase\n', encoding='utf-8')
    made = workspace.run('augment_corpus', corpus=corpora[0].path, operators='replace:0.2', copies=1, synonyms=words)['corpus']
    assert Corpus.load(made).info['augmented']['operators']['replace']['copies'] > 0 and made.manifest['parameters']['synonyms'] == 'words.txt'
    refused = workspace.outcome('augment_corpus', corpus=corpora[0].path, operators='masked')
    assert refused.state == 'failed' and 'filler=' in refused.error
