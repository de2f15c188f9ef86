"""What the data floor promises: order does not matter, nothing is lost, and hostile files are answered in one sentence."""
import json, os, subprocess, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from enterprise_lm.core.errors import UserError
from enterprise_lm.core.settings import get_settings
from enterprise_lm.data.corpus import Corpus, prepare
from enterprise_lm.data.read import read, read_rows
from enterprise_lm.data.split import split, text_key

public = Path(__file__).parent.parent/'..'/'shared'/'data'


def need(name):
    if not (public/name).is_dir(): pytest.skip(f'the public data set {name} is not on this machine')
    return public/name


rows = st.lists(st.tuples(st.text(min_size=1, max_size=6), st.sampled_from(['a', 'b', '灯']), st.sampled_from([None, 'ann', 'bob', 'li'])), min_size=8, max_size=60)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows, st.randoms(use_true_random=False), st.integers(0, 5))
def test_a_split_does_not_depend_on_the_order(rows, random, seed):
    def sides(rows):
        try: return dict(zip(map(repr, rows), split([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], seed=seed)))
        except UserError: return None
    shuffled = random.sample(rows, len(rows))
    found = sides(rows)
    assert found == sides(shuffled)
    if found is None: return
    for part in (0, 2):
        kept = {}
        for r in rows:
            key = text_key(r[0]) if part == 0 else r[2]
            if key is not None: assert kept.setdefault(key, found[repr(r)]) == found[repr(r)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text(min_size=1, max_size=4).filter(str.strip), st.sampled_from('xy')), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_ids_do_not_depend_on_the_order(rows, random):
    def ids(rows): return sorted(zip(*(table[c] for c in ('text', 'label', 'id'))), key=repr) if (table := read_rows(rows).table.to_pydict()) else []
    data = [dict(text=t, label=l) for t, l in rows]
    assert ids(data) == ids(random.sample(data, len(data)))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.text(min_size=1, max_size=3), st.sampled_from(['a', 'b', 'c'])), max_size=12))
def test_no_side_is_empty(rows):
    try: sides = split([r[0] for r in rows], [r[1] for r in rows])
    except UserError as error: assert len({text_key(r[0]) for r in rows}) < 3 or 'one text only' in str(error)
    else: assert set(sides) == {'train', 'validation', 'test'}


def test_proportions_hold_for_every_label():
    labels = [l for l, n in dict(many=500, some=50, few=10).items() for _ in range(n)]
    sides = split([f'text {i}' for i in range(len(labels))], labels)
    for label, n in dict(many=500, some=50, few=10).items():
        assert abs(sum(s == 'test' for s, l in zip(sides, labels) if l == label) - n / 10) <= 1


script = "import sys; from enterprise_lm.data.corpus import prepare; print(prepare('sample://support', root=sys.argv[1]).digest, 'datasets' in sys.modules, 'torch' in sys.modules)"


def test_the_digest_is_the_same_in_every_process(tmp_path):
    def run(seed, folder):
        environment = dict(os.environ, PYTHONHASHSEED=str(seed), PYTHONPATH=str(Path(__file__).parent.parent))
        return subprocess.run([sys.executable, '-c', script, tmp_path/folder], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    first, second = run(0, 'a'), run(12345, 'b')
    assert first == second and first.split()[1:] == ['False', 'False']


def test_the_digest_does_not_know_the_place(tmp_path):
    digests = set()
    for place in ('one', 'two'):
        (tmp_path/place).mkdir()
        (tmp_path/place/'mail.csv').write_text('text,label\n' + ''.join(f'message {i},{i % 3}\n' for i in range(60)))
        digests.add(prepare(tmp_path/place/'mail.csv', root=tmp_path/f'root-{place}').digest)
    assert len(digests) == 1


hostile = {
    'empty.csv': b'', 'header.csv': b'text,label\n', 'binary.csv': b'\x7fELF\x02\x01\x01\0\0\0\0' + bytes(range(256)) * 20, 'picture.txt': b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR' * 50,
    'utf16.csv': 'text,label\nThe lamp,a\n'.encode('utf-16'), 'utf16-no-mark.txt': 'The lamp is dark\n'.encode('utf-16-le') * 20, 'gb.csv': 'text,label\n灯坏了请退货,a\n'.encode('gb18030'),
    'latin.txt': 'La lampe est cass\xe9e\n'.encode('latin-1'), 'quote.csv': b'text,label\n"never closed,a\nand on,b\n', 'columns.csv': b'when,what\n1,2\n', 'twice.csv': b'text,text\na,b\n',
    'nojson.jsonl': b'not json\n', 'array.jsonl': b'[1, 2]\n', 'deep.jsonl': b'[' * 100_000 + b'\n', 'number.jsonl': b'{"text": ' + b'9' * 5000 + b'}\n', 'surrogate.jsonl': b'{"text": "\\ud83d"}\n',
    'null.jsonl': b'{"text": null}\n', 'list.jsonl': b'{"text": ["a"]}\n', 'nul.txt': b'some text with a \0 in it and then some more words to make it text\n', 'fake.parquet': b'PAR1 no', 'long.txt': b'x' * 1_000_001,
    'blank.txt': b'\n \n\t\n', 'unknown.docx': b'text'}


@pytest.mark.parametrize('name', hostile)
def test_hostile_files_get_one_sentence(tmp_path, name):
    (tmp_path/name).write_bytes(hostile[name])
    for call in (lambda: prepare(tmp_path/name, root=tmp_path/'root', encoding='utf-8'), lambda: prepare(tmp_path, root=tmp_path/'root', encoding='utf-8')):
        with pytest.raises(UserError) as error: call()
        assert '\n' not in str(error.value) and len(str(error.value)) < 400
    with pytest.raises(UserError, match=name.split('.')[0]): prepare(tmp_path/name, root=tmp_path/'root', encoding='utf-8')
    assert not list(tmp_path.glob('root/corpus/*'))


@pytest.mark.parametrize('name, mend', {'gb.csv': "gb.csv:2: bytes that are not utf-8, probably gb18030", 'utf16.csv': "encoding='utf-16'", 'utf16-no-mark.txt': "encoding='utf-16-le'",
                                         'latin.txt': "latin.txt:1: bytes that are not utf-8, probably cp1252", 'quote.csv': 'line 2: a quote', 'columns.csv': '`when`, `what`', 'surrogate.jsonl': 'surrogate.jsonl:1'}.items())
def test_errors_name_place_and_mend(tmp_path, name, mend):
    (tmp_path/name).write_bytes(hostile[name])
    with pytest.raises(UserError, match=mend): read(tmp_path/name, encoding='utf-8')


@pytest.mark.parametrize('name, encoding', {'gb.csv': 'gb18030', 'utf16.csv': 'utf-16', 'utf16-no-mark.txt': 'utf-16-le', 'latin.txt': 'cp1252'}.items())
def test_the_mend_works(tmp_path, name, encoding):
    (tmp_path/name).write_bytes(hostile[name])
    assert read(tmp_path/name, encoding=encoding)['text'] == read(tmp_path/name)['text'] != []


def test_missing_places(tmp_path):
    for source in (tmp_path/'nowhere.csv', tmp_path, str(tmp_path/'*.csv'), 'sample://nothing', 7, b'text', [3], 'My lamp is dark. ' * 500, 'a\0b', ''):
        with pytest.raises(UserError): prepare(source, root=tmp_path/'root')


def test_few_rows(tmp_path):
    for n in (0, 1, 2):
        with pytest.raises(UserError): prepare([dict(text=f'text {i}') for i in range(n)], root=tmp_path)
    corpus = Corpus.load(prepare([dict(text=f'text {i}') for i in range(3)], root=tmp_path))
    assert [len(corpus[s]) for s in ('train', 'validation', 'test')] == [1, 1, 1]


def test_nothing_is_lost(tmp_path):
    good = [f'{{"text": "message {i}", "label": "{i % 4}"}}' for i in range(100)]
    bad = ['{"text": "no label"}', '{"text": "\\ud800 half", "label": "a"}', 'broken', '{"text": "", "label": "a"}', '{"text": "nul \\u0000", "label": "a"}']
    (tmp_path/'mail.jsonl').write_text('\n'.join(good + bad) + '\n\n\n')
    (tmp_path/'held.jsonl').write_text('{"text": "Message 5 ", "label": "1"}\n')
    artifact = prepare(tmp_path/'mail.jsonl', test=tmp_path/'held.jsonl', root=tmp_path/'root')
    corpus = Corpus.load(artifact)
    rejected, left = ([json.loads(l) for l in artifact.file(f).read_text(encoding='utf-8').splitlines()] for f in ('rejected.jsonl', 'overlap.jsonl'))
    assert len(corpus['train']) + len(corpus['validation']) + len(rejected) + len(left) == 105
    assert corpus['test'].texts == ['Message 5 '] and [r['text'] for r in left] == ['message 5']
    assert sorted(int(r['source'].split(':')[1]) for r in rejected) == [102, 103, 104, 105] and corpus.info['blank'] == 2
    assert 'Message' not in artifact.file('README.md').read_text(encoding='utf-8')


def test_every_format_says_the_same(tmp_path):
    data = [dict(text=t, label=l) for t, l in (('a "quoted", text', 'x'), ('two\nlines', 'y'), ('灯坏了\t了', 'x'), ('🙂', 'z'), ('שלום', 'x'))]
    import csv
    for name, separator in (('a.csv', ','), ('a.tsv', '\t')):
        with open(tmp_path/name, 'w', encoding='utf-8-sig', newline='') as file:
            writer = csv.DictWriter(file, ['text', 'label'], delimiter=separator, lineterminator='\r\n'); writer.writeheader(); writer.writerows(data)
    (tmp_path/'a.jsonl').write_text(''.join(json.dumps(r) + '\r\n' for r in data))
    pa.parquet.write_table(pa.Table.from_pylist(data), tmp_path/'a.parquet')
    tables = [read_rows(tmp_path/f'a.{ending}').table.select(['id', 'text', 'label']).to_pylist() for ending in ('csv', 'tsv', 'jsonl', 'parquet')]
    assert tables[0] == tables[1] == tables[2] == tables[3] and [r['text'] for r in tables[0]] == [r['text'] for r in data]
    assert read(data)['id'] == read(tmp_path/'a.csv')['id']


def test_a_huge_field_is_read(tmp_path):
    (tmp_path/'a.csv').write_text('text,label\n' + 'word ' * 150_000 + ',a\n')
    assert len(read(tmp_path/'a.csv')[0]['text']) == 750_000


def test_a_dataset_leaves_the_artifact_alone(tmp_path):
    artifact = prepare('sample://support?language=zh', root=tmp_path)
    rows = Corpus.load(artifact)['train'].dataset().map(lambda r: dict(length=len(r['text'])))
    assert rows[0]['length'] and not artifact.verify()


def test_groups_stay_whole(tmp_path):
    corpus = Corpus.load(prepare('sample://tickets', root=tmp_path))
    subjects = [{r['subject'] for r in corpus[s].rows()} for s in corpus.splits]
    assert not (subjects[0] & subjects[1] or subjects[0] & subjects[2] or subjects[1] & subjects[2])


def test_strict_stops(tmp_path):
    data = [dict(text=f'text {i}', label='a') for i in range(30)]
    with pytest.raises(UserError, match='rows:4.*in test'): prepare(data, test=[dict(text='TEXT 3', label='a')], strict=True, root=tmp_path)
    with pytest.raises(UserError, match='rows:31: empty text'): prepare(data + [dict(text='', label='a')], strict=True, root=tmp_path)


def test_banking77(tmp_path):
    folder = need('banking77')
    artifact = prepare(folder/'train.csv', test='test.csv', text='text', label='category', root=tmp_path)
    corpus = Corpus.load(artifact)
    assert corpus.name == 'banking77' and len(corpus['test']) == 3080 and len(corpus.labels) == 77 and corpus.info['overlap'] == 6
    assert len(corpus['train']) + len(corpus['validation']) == 10_003 - 6 and not corpus.info['rejected']
    left = [json.loads(l)['text'] for l in artifact.file('overlap.jsonl').read_text(encoding='utf-8').splitlines()]
    assert sum('\n' in t for texts in (*(corpus[s].texts for s in corpus.splits), left) for t in texts) == 13
    whole = Corpus.load(prepare(folder, name='banking77', text='text', label='category', root=tmp_path))   # the same, and told that there is a list of categories
    assert whole.info['splits'] == corpus.info['splits'] and [f['detail'].partition(';')[0] for f in whole.findings if f not in corpus.findings] == ['not read, since another is called train: categories.json']


def test_thucnews_titles(tmp_path):
    corpus = Corpus.load(prepare(need('thucnews-titles'), columns='text,label', label_names='class.txt', root=tmp_path))
    left = [json.loads(l) for l in corpus.artifact.file('overlap.jsonl').read_text(encoding='utf-8').splitlines()]
    assert len({r['text'] for r in left if r['held'] == 'test'}) == 33 and [len(corpus[s]) for s in ('validation', 'test')] == [10_000, 10_000]
    assert len(corpus.labels) == 10 and 'finance' in corpus.labels and len(corpus['train']) + len(left) == 33_590


def test_wikitext_2(tmp_path):
    corpus = Corpus.load(prepare(need('wikitext-2'), root=tmp_path))
    assert [len(corpus[s]) for s in corpus.splits] == [23_767, 2_461, 2_891] and corpus['test'].labels is None
    assert sum(len(t.split()) for t in corpus['test'].texts) + len(corpus['test']) == 244_102


def test_processes_do_not_change_a_corpus(tmp_path):
    (tmp_path/'a.jsonl').write_text(''.join(json.dumps(dict(text=f'  Message {i % 700} about the ｌａｍｐ.\u200b 灯坏了 {i % 700}', label=str(i % 3), subject=f'person {i % 90}')) + '\n' for i in range(1200)) + 'broken\n')
    washed = dict(name='washed', cleaning='safe', rules='short', exact_duplicates=True, near_duplicates=.9)
    digests = {prepare(tmp_path/'a.jsonl', root=tmp_path/f'{n}', preparation=washed, processes=n).digest for n in (1, 2)}
    assert len(digests) == 1


bounded = """
import resource, sys
from enterprise_lm.data.corpus import prepare
import enterprise_lm.data.cleaning, enterprise_lm.data.duplicates, matplotlib.figure, pyarrow
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
prepare(sys.argv[1], root=sys.argv[2], preparation=dict(exact_duplicates=True))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    with open(tmp_path/'big.jsonl', 'w') as file:
        for i in range(6000): file.write(json.dumps(dict(text=f'{i * 7919} ' + f'The lamp of case {i} is dark, 灯坏了 {i * 31}. ' * 250)) + '\n')
    size = (tmp_path/'big.jsonl').stat().st_size >> 20
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parent.parent), ELM_WORKSPACE__HOME=str(tmp_path/'home'))
    grown = int(subprocess.run([sys.executable, '-c', bounded, tmp_path/'big.jsonl', tmp_path/'root'], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path).stdout)
    assert size > 60 and grown < 150, f'{grown} MB more for {size} MB of text'


def test_the_newest_rows_are_the_test(tmp_path):
    data = [dict(text=f'message {i}', time=f'2024-{1 + i // 28:02}-{1 + i % 28:02}') for i in range(100)]
    corpus = Corpus.load(prepare(data, split_by='time', root=tmp_path))
    days = {s: [r['time'] for r in corpus[s].rows()] for s in corpus.splits}
    assert max(days['train']) < min(days['validation']) and max(days['validation']) < min(days['test']) and len(days['test']) == 10
    with pytest.raises(UserError, match='no row has a time'): prepare([dict(text=f'text {i}') for i in range(9)], split_by='time', root=tmp_path)


def test_limits_stop_a_build(tmp_path):
    data, held = [dict(text=f'message {i}', label='a') for i in range(40)], [dict(text=f'Message {i} ', label='a') for i in range(10)]
    with pytest.raises(UserError, match='10 of 40 training rows are held back'): prepare(data, test=held, preparation=dict(overlap=.1), root=tmp_path)
    with pytest.raises(UserError, match='far longer'): prepare(data + [dict(text='long ' * 9000, label='a')] * 8, preparation=dict(outliers=.1), root=tmp_path)
    with pytest.raises(UserError, match='no licence'): prepare(data + [dict(text='more', label='a', licence='MIT')], preparation=dict(missing=.5), root=tmp_path)
    assert not list(tmp_path.glob('corpus/*'))


def test_near_copies_of_the_test_leave(tmp_path):
    letter = 'The parcel with my order has been on its way for two weeks now and nobody at your desk can tell me where it is.'
    data = [dict(text=f'Message {i} is about {i * 7919} other things and the weather of day {i}.', label='a') for i in range(40)] + [dict(text=letter, label='a')]
    artifact = prepare(data, test=[dict(id='held-1', text=letter.replace('two', 'three'), label='a')], preparation='standard', root=tmp_path)
    left = [json.loads(l) for l in artifact.file('overlap.jsonl').read_text(encoding='utf-8').splitlines()]
    assert [(r['text'], r['overlap'], r['held']) for r in left] == [(letter, 'near', 'test')] and left[0]['similarity'] > .8
    assert left[0]['resembles'] == Corpus.load(artifact)['test'].ids[0]


def test_the_policy_holds_for_everything_that_is_written(tmp_path, monkeypatch):
    (tmp_path/'settings.ini').write_text('[privacy]\npolicy = policy.yaml\n[data]\nlicences = CC0-1.0\n')
    (tmp_path/'policy.yaml').write_text('types:\n  EMAIL: {intake: mask}\n  CARD_NUMBER: {intake: refuse}\n')
    monkeypatch.chdir(tmp_path)
    rows = [dict(text=f'Case {i}: write to ann.vermeulen{i}@loom.example about the lamp.', licence='CC0-1.0') for i in range(20)]
    rows += [dict(text='Card 4111 1111 1111 1111 of ann.vermeulen@loom.example', licence='CC0-1.0'), dict(text='Not ours, ann.vermeulen@loom.example'), dict(text=7, note='ann.vermeulen@loom.example')]
    artifact = prepare(rows, name='cases', root=tmp_path/'root', rejected_limit=.5)
    assert not [p for p in (tmp_path/'root').rglob('*') if p.is_file() and (b'vermeulen' in p.read_bytes() or b'4111 1111' in p.read_bytes())]
    intake = artifact.json('intake.json')
    assert intake['findings']['EMAIL']['mask'] >= 20 and intake['refused'] == {'licence': 1, 'personal data': 1}
    assert '[EMAIL]' in Corpus.load(artifact)['train'].texts[0]


def test_a_folder_of_all_sorts_is_read_as_far_as_it_can_be(tmp_path):
    box = tmp_path/'box'; box.mkdir()
    for n in range(4): (box/f'{n}.jsonl').write_text(''.join(json.dumps(dict(text=f'letter {n} {i}')) + '\n' for i in range(10)))
    texts = ['灯坏了，请帮我退货', '我的包裹还没有到，请查一下']
    (box/'gb.txt').write_bytes('\n'.join(texts).encode('gb18030')); (box/'wide.txt').write_bytes('\n'.join(t + '二' for t in texts).encode('utf-16'))
    (box/'empty.txt').touch(); (box/'picture.txt').write_bytes(hostile['picture.txt']); (box/'quote.csv').write_bytes(b'text\nfine\n' + hostile['quote.csv'].partition(b'\n')[2])
    (box/'columns.csv').write_bytes(hostile['columns.csv'])
    artifact = prepare(box, root=tmp_path/'root')
    corpus, found = Corpus.load(artifact), {f['rule']: f for f in Corpus.load(artifact).findings}
    everything = {t for side in corpus.splits for t in corpus[side].texts}
    assert everything >= {*texts, *(t + '二' for t in texts), 'fine'} and len(everything) == 45
    assert {json.loads(l)['source'] for l in artifact.file('rejected.jsonl').read_text(encoding='utf-8').splitlines()} == {'empty.txt', 'picture.txt', 'quote.csv', 'columns.csv'}
    assert found['unreadable files']['count'] == 4 and sum(' is read as ' in f['detail'] for f in corpus.findings) == 2
    with pytest.raises(UserError, match='4 of 10 files cannot be used.*rejected_limit=0.4'): prepare(box, root=tmp_path/'root', rejected_limit=.3)
    with pytest.raises(UserError, match='columns.csv has no text column'): prepare(box, root=tmp_path/'root', strict=True)


def test_most_rows_must_be_of_use(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [dict(text=f'letter {i}') for i in range(10)] + [dict(text='')] * 11
    with pytest.raises(UserError, match='11 of 21 rows cannot be used; the first: rows:11: empty text.*rejected_limit=0.53'): prepare(rows, root=tmp_path/'root')
    assert Corpus.load(prepare(rows, root=tmp_path/'root', rejected_limit=.6)).info['rejected'] == 11
    (tmp_path/'settings.ini').write_text('[data]\nrejected_limit = 0.9\n')
    assert Corpus.load(prepare(rows, root=tmp_path/'root')).info['rejected'] == 11
    for limit in (-1, 2, float('nan')):
        with pytest.raises(UserError, match='rejected_limit='): prepare(rows, root=tmp_path/'root', rejected_limit=limit)


def test_limits_are_settings_and_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, held = [dict(text=f'message {i}', label='a') for i in range(40)], [dict(text=f'Message {i} ', label='a') for i in range(10)]
    with pytest.raises(UserError, match='overlap_limit=0.1 allows 4.*overlap_limit=0.25'): prepare(data, test=held, overlap_limit=.1, root=tmp_path/'root')
    with pytest.raises(UserError, match='overlap_limit=3: give a number from 0 to 1'): prepare(data, test=held, overlap_limit=3, root=tmp_path/'root')
    (tmp_path/'settings.ini').write_text('[data]\nmissing_limit = 0.5\n')
    licensed = data + [dict(text='more', label='a', licence='MIT')]
    with pytest.raises(UserError, match='no licence, and missing_limit=0.5'): prepare(licensed, root=tmp_path/'root')
    made = prepare(licensed, root=tmp_path/'root', missing_limit=1.)
    assert made.parameters['preparation']['missing'] == 1 and not list(tmp_path.glob('root/corpus/.*'))


def test_rows_without_a_label_stay_or_are_counted(tmp_path):
    tickets, mail = [dict(text=f'ticket {i} about lamps', label='ab'[i % 2]) for i in range(40)], [dict(text=f'mail {i} about bridges') for i in range(30)]
    for name, rows in (('tickets', tickets), ('mail', mail)): (tmp_path/f'{name}.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in rows))
    both = Corpus.load(prepare([tmp_path/'tickets.jsonl', tmp_path/'mail.jsonl'], name='both', root=tmp_path/'root'))
    assert sum(len(both[s]) for s in both.splits) == 70 and sum(both[s].labels.count(None) for s in both.splits) == 30 and both.labels == ['a', 'b'] and not both.info['rejected']
    finding, = [f for f in both.findings if f['rule'] == 'no label']
    assert finding['count'] == 30 and 'mail.jsonl 30' in finding['detail'] and not any(f['rule'] == 'conflicting labels' for f in both.findings)
    labelled = prepare([tmp_path/'tickets.jsonl', tmp_path/'mail.jsonl'], name='both', root=tmp_path/'root', unlabelled='drop')
    assert sum(len(Corpus.load(labelled)[s]) for s in both.splits) == 40 and 'keep' in str(Corpus.load(labelled).findings) and len(labelled.file('rejected.jsonl').read_text().splitlines()) == 30
    with pytest.raises(UserError, match='keep, drop'): prepare(tickets, root=tmp_path/'root', unlabelled='no')


def test_an_empty_outcome_names_what_emptied_it(tmp_path):
    rows = [dict(text='')] * 2 + [dict(text=f'a short mail {i}') for i in range(30)]
    with pytest.raises(UserError, match=r'of 32 rows left out by read 2 \(empty text 2\), by rules 30 \(word_count 30\)'): prepare(rows, root=tmp_path, preparation='web')


def test_cleaning_words_are_kept_with_the_corpus(tmp_path):
    rows = [dict(text=f'The LAMP of Room {i} is dark ٣٤') for i in range(30)]
    made = prepare(rows, root=tmp_path, preparation='standard', cleaning='numbers, case')
    assert made.parameters['preparation']['cleaning'] == 'safe, numbers, case' and all(t.islower() and '34' in t for t in Corpus.load(made)['train'].texts)


lines_of = st.lists(st.tuples(st.sampled_from(['utf-8', 'gb18030', 'cp1252', 'big5']), st.sampled_from(['灯坏了，请帮我退货', 'plain words', 'déjà vu', '我的包裹還沒有到', 'a, "b"', ''])), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines_of, st.binary(max_size=30), st.sampled_from(['auto', 'utf-8', 'gb18030', 'cp1252', 'latin-1', 'big5']), st.sampled_from(['txt', 'csv', 'jsonl']))
def test_bytes_in_any_encoding_are_rows_or_reasons(tmp_path, lines, more, encoding, kind):
    path = tmp_path/f'some.{kind}'
    path.write_bytes(b'text\n' * (kind == 'csv') + b''.join(t.encode(e, 'replace') + b'\n' for e, t in lines) + more)
    try: table = read_rows(path, encoding=encoding).table
    except UserError: return
    for text in table['text'].to_pylist(): assert not any('\ud800' <= c <= '\udfff' for c in text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(['utf-8', 'gb18030', 'utf-16']), st.lists(st.sampled_from(['我的包裹还没有到，你们说在路上了', '这个灯是坏的，请帮我退货', 'plain words']), min_size=1, max_size=8))
def test_a_files_own_encoding_is_found(tmp_path, encoding, texts):
    path = tmp_path/'some.txt'
    path.write_bytes('\n'.join(texts).encode(encoding))
    assert read_rows(path).table['text'].to_pylist() == texts


def test_the_splits_of_a_saved_data_set_stay_what_they_are(tmp_path):
    import datasets
    datasets.disable_progress_bars()
    made = {split: datasets.Dataset.from_dict(dict(text=[f'{split} lamp {n} is dark, please' for n in range(40)])) for split in ('train', 'test')}
    datasets.DatasetDict(made).save_to_disk(str(tmp_path/'saved'))
    whole, alone = (Corpus.load(prepare(f'{tmp_path}/saved{part}', preparation='as_is', name='saved', root=tmp_path/'root')) for part in ('', '#train'))
    assert sorted(whole['test'].texts) == sorted(made['test']['text']) and not set(whole['train'].texts) & set(made['test']['text'])
    assert sum(len(alone[side]) for side in alone.splits) == 40 and all(t.startswith('train') for side in alone.splits for t in alone[side].texts)
    with pytest.raises(UserError, match='unknown split `dev`'): prepare(f'{tmp_path}/saved#dev', root=tmp_path/'root')


def test_what_stands_beside_a_text_is_looked_through_at_intake(tmp_path):
    (tmp_path/'settings.ini').write_text('[privacy]\npolicy = policy.yaml\nkey = file:privacy.key\n')
    (tmp_path/'privacy.key').write_text('the same key in every run\n')
    rows = [dict(id=f'1380013{8000 + n}', text=f'my lamp number {n} is dark and cold today', group=f'ann{n % 9}@loom.example', label='card_arrival', subject=f'c{n}') for n in range(60)]
    (tmp_path/'calls.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    def made(default):
        (tmp_path/'policy.yaml').write_text(f'default: {{intake: {default}}}\n')
        return Corpus.load(prepare(tmp_path/'calls.jsonl', root=tmp_path/'workspace'/'artifacts', preparation='as_is', group='group', settings=get_settings(tmp_path), rejected_limit=1))
    masked = made('mask')
    kept = [row for side in masked.splits for row in masked[side].rows()]
    assert len(kept) == 60 and len({r['id'] for r in kept}) == 60 and len({r['group'] for r in kept}) == 9 and {r['label'] for r in kept} == {'card_arrival'}
    assert all(r['id'].startswith('i-') and r['group'].startswith('i-') for r in kept)
    assert not any(b'loom.example' in p.read_bytes() or b'1380013' in p.read_bytes() for p in (tmp_path/'workspace').rglob('*') if p.is_file())
    with pytest.raises(UserError, match='personal data'): made('refuse')


@pytest.mark.parametrize('kind', ['files', 'splits'])
def test_what_is_left_out_beside_official_sides_is_told(tmp_path, kind):
    sides = {name: [f'{name} {n} of the lamp in room {n * 7}' for n in range(12)] for name in ('train', 'test', 'extra')}
    if kind == 'splits':
        import datasets
        datasets.DatasetDict({name: datasets.Dataset.from_dict(dict(text=texts)) for name, texts in sides.items()}).save_to_disk(tmp_path/'d')
    else:
        (tmp_path/'d').mkdir()
        for name, texts in sides.items(): (tmp_path/'d'/f'{name}.jsonl').write_text(''.join(json.dumps(dict(text=t)) + '\n' for t in texts))
    def told(**how): return [f['detail'] for f in Corpus(prepare(tmp_path/'d', root=tmp_path/'root', cache=True, **how)).findings if f['rule'] == 'note']
    left = 'extra' if kind == 'splits' else 'extra.jsonl'
    for _ in range(2): assert [note.partition(';')[0] for note in told()] == [f'not read, since another is called train: {left}']   # from the cache too
    assert told(test=f'{tmp_path}/d#extra' if kind == 'splits' else 'extra.jsonl') == []
