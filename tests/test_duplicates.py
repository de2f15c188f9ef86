"Promises of shingles, duplicates, leakage and the file job: order, processes, memory, hostile input."
import json, os, random, subprocess, sys
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from enterprise_lm.core.errors import UserError
from enterprise_lm.data.dedupe import dedupe_file
from enterprise_lm.data.duplicates import DuplicateIndex, explain, find_duplicates
from enterprise_lm.data.leakage import HeldIndex, find_leakage
from enterprise_lm.data.shingles import similarity, sketch
from enterprise_lm.data.writing import Columns, replacing, write_rows

english = 'the parcel with my order left your warehouse two weeks ago and nobody at the desk has been able to tell me where it might be'.split()
chinese = '我的包裹在两个星期以前就已经离开了你们的仓库可是客服到现在也没有人能够告诉我它到底在什么地方请帮忙查询'

def edited(units, seed, edits=1):
    rng, units = random.Random(seed), list(units)
    for _ in range(edits): units[rng.randrange(len(units))] = rng.choice(['lamp', 'blue'] if len(units[0]) > 1 else list('灯蓝'))
    return units

def corpus(copies=30):
    rng = random.Random(7)
    texts = [' '.join(rng.sample(english, 20)) for _ in range(60)] + [''.join(rng.sample(chinese, 40)) for _ in range(60)]
    return texts + [' '.join(edited(texts[i].split(), i)) for i in range(copies)] + [''.join(edited(texts[60 + i], i)) for i in range(copies)]

def as_sets(clusters, texts): return {frozenset(texts[i] for i in (c['kept'], *c['dropped'])) for c in clusters}


def test_both_languages_are_found_and_nothing_else():
    texts = corpus()
    clusters = find_duplicates(texts)
    pairs = {(c['kept'], d) for c in clusters for d in c['dropped']}
    wanted = {(i, 120 + i) for i in range(30)} | {(60 + i, 150 + i) for i in range(30)}
    assert len(pairs & wanted) >= 57 and not pairs - wanted

def test_every_dropped_row_resembles_the_one_kept_for_it():
    texts = corpus()
    for threshold in (.5, .65, .8, .95):
        for c in find_duplicates(texts, threshold):
            assert min(similarity(texts[c['kept']], texts[d]) for d in c['dropped']) >= threshold - 1e-9
            assert c['similarity'] == round(min(similarity(texts[c['kept']], texts[d]) for d in c['dropped']), 4)

def test_batches_and_sketches_of_other_processes_give_the_same():
    texts, whole = corpus(), find_duplicates(corpus())
    for size in (1, 7, 64):
        index = DuplicateIndex()
        for i in range(0, len(texts), size): index.add(range(i, min(i + size, len(texts))), sketch(texts[i:i + size]))
        assert index.clusters() == whole

def test_another_order_finds_the_same_groups():
    texts = corpus()
    shuffled = random.Random(3).sample(texts, len(texts))
    assert as_sets(find_duplicates(texts), texts) == as_sets(find_duplicates(shuffled), shuffled)

def test_a_new_process_with_another_hash_seed_gives_the_same(tmp_path):
    code = 'import json; from tests.test_duplicates import corpus; from enterprise_lm.data.duplicates import find_duplicates; print(json.dumps(find_duplicates(corpus())))'
    found = {subprocess.run([sys.executable, '-c', code], env=dict(os.environ, PYTHONHASHSEED=s), capture_output=True, text=True, check=True, cwd=os.path.dirname(os.path.dirname(__file__))).stdout for s in '12'}
    assert [json.loads(f) for f in found] == [json.loads(json.dumps(find_duplicates(corpus())))]

def test_shingles_on_disk_are_the_same_as_in_memory():
    texts, index = corpus(), DuplicateIndex(memory=100)
    index.add(range(len(texts)), texts)
    assert index.clusters() == find_duplicates(texts)

def test_ranks_decide_what_stays():
    texts = ['a b c d e f g h', 'A b c d e f g h!', 'a b c d e f g h.']
    assert find_duplicates(texts, ranks=[2, 0, 1]) == [dict(kept=1, dropped=[0, 2], similarity=1.)]
    with pytest.raises(UserError, match='one of each'): find_duplicates(texts, ranks=[1])

@pytest.mark.parametrize('threshold', [0, .49, 1.01, -1, float('nan'), '0.8', None, True])
def test_a_threshold_out_of_range_is_an_error(threshold):
    for call in (lambda: find_duplicates(['a'], threshold), lambda: HeldIndex(['a'], threshold=threshold)):
        with pytest.raises(UserError, match='0.5 to 1'): call()

def test_hostile_texts():
    assert find_duplicates([]) == [] and find_duplicates(['one']) == [] and find_duplicates(['', ' \n']) == [dict(kept=0, dropped=[1], similarity=1.)]
    assert find_duplicates(['!!!', '???', '😀', '😃', '\ud800', '\0']) == []
    assert find_duplicates(['a\0b', 'a b', '\0' * 5, 'c']) == [dict(kept=0, dropped=[1], similarity=1.)]
    with pytest.raises(UserError, match='text 2 is a NoneType'): find_duplicates(['a', None])

def test_equal_texts_and_templates_are_not_quadratic():
    same = find_duplicates(['Where is my parcel?'] * 50_000)
    assert len(same) == 1 and len(same[0]['dropped']) == 49_999
    letter = 'Dear customer {} your parcel left our warehouse today and will arrive within three working days so please be at home between nine and five'
    found = find_duplicates([letter.format(i) for i in range(20_000)])
    assert sum(len(c['dropped']) for c in found) > 19_900

def test_a_text_of_many_pieces():
    rng = random.Random(1)
    long = ' '.join(rng.choice(english) + str(rng.randrange(9999)) for _ in range(250_000))
    other = long[:1_500_000] + ' something else entirely ' + long[1_500_000:]
    assert len(long) > 2**21 and find_duplicates(['short', long, other])[0]['similarity'] > .99
    assert similarity('a' * 3_000_000, 'b' * 3_000_000) == 0

@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=12), st.sampled_from([.5, .8, 1.]))
def test_any_texts_are_partitioned(texts, threshold):
    clusters = find_duplicates(texts, threshold)
    rows = [r for c in clusters for r in (c['kept'], *c['dropped'])]
    assert len(rows) == len(set(rows)) and set(rows) <= set(range(len(texts)))
    for i, text in enumerate(texts): assert texts.index(text) == i or any(i in c['dropped'] for c in clusters) or any(c['kept'] == i for c in clusters)

@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_similarity_is_symmetric_and_one_for_the_same(a, b):
    assert similarity(a, b) == similarity(b, a) and 0 <= similarity(a, b) <= 1 and similarity(a, a) == 1
    html = explain(a, b)._repr_html_()
    assert '<script' not in html and ''.join(o for k, o, n in explain(a, b).steps) == a and ''.join(n for k, o, n in explain(a, b).steps) == b

def test_leakage_equals_comparing_all_pairs():
    texts = corpus()
    training, held = texts[:120], texts[120:]
    found = {m['row']: m for m in find_leakage(iter(training), held)}
    sketches = sketch(texts)
    ends = sketches.sizes.cumsum()
    sets = [set(sketches.shingles[end - size:end].tolist()) for end, size in zip(ends, sketches.sizes)]
    brute = {i: max(len(sets[i] & h) / len(sets[i] | h) for h in sets[120:]) for i in range(120)}
    assert {i for i, s in brute.items() if s >= .8} == set(found) and all(m['similarity'] == round(brute[i], 4) for i, m in found.items())
    assert list(find_leakage([], held)) == [] == list(find_leakage(training, []))

def test_leakage_says_exact_only_for_equal_keys():
    found = list(find_leakage(['Reset my password', 'reset my password ', 'reset my password!'], ['Reset my password'], held_ids=['t7']))
    assert [(m['row'], m['held'], m['exact'], m['similarity']) for m in found] == [(0, 't7', True, 1.), (1, 't7', True, 1.), (2, 't7', False, 1.)]


def write(path, rows): path.write_text(''.join(json.dumps(r, ensure_ascii=False) + '\n' for r in rows), encoding='utf-8'); return path

@pytest.mark.parametrize('ending', ['csv', 'tsv', 'jsonl', 'parquet', 'txt'])
def test_dedupe_file_any_output_same_bytes(tmp_path, ending):
    source = write(tmp_path/'in.jsonl', [dict(id=f'r{i}', text=t, label='x') for i, t in enumerate(corpus())])
    reports = []
    for name in 'ab':
        reports.append(dedupe_file(source, tmp_path/f'{name}.{ending}', tmp_path/f'{name}.clusters.jsonl'))
    assert (tmp_path/f'a.{ending}').read_bytes() == (tmp_path/f'b.{ending}').read_bytes()
    clusters = [json.loads(l) for l in open(tmp_path/'a.clusters.jsonl', encoding='utf-8')]
    assert all(set(c) == {'kept', 'dropped', 'similarity'} for c in clusters) and reports[0]['dropped'] == sum(len(c['dropped']) for c in clusters) > 50
    from enterprise_lm.data.files import records
    assert len([r for r in records(tmp_path/f'a.{ending}')]) == reports[0]['kept'] == 180 - reports[0]['dropped']
    assert not [p for p in tmp_path.iterdir() if p.name.startswith('.')]

def test_dedupe_file_bad_rows_and_ids(tmp_path):
    path = tmp_path/'in.jsonl'
    path.write_text('{"text": "Where is my parcel?"}\n{oops\n{"text": ""}\n{"text": "where is my parcel"}\n\n{"text": 5}\n', encoding='utf-8')
    report = dedupe_file(path, tmp_path/'out.jsonl')
    assert (report['rows'], report['kept'], report['rejected'], report['ids']) == (2, 1, 3, 'row numbers')
    assert json.loads((tmp_path/'out.jsonl.clusters.jsonl').read_text()) == dict(kept=1, dropped=[4], similarity=1.)
    assert [json.loads(l)['source'] for l in open(tmp_path/'out.jsonl.rejected.jsonl')] == ['in.jsonl:2', 'in.jsonl:3', 'in.jsonl:6']

def test_dedupe_file_refuses_what_would_destroy(tmp_path):
    path = write(tmp_path/'in.jsonl', [dict(text='a')])
    before = path.read_bytes()
    for out, clusters, message in ((path, '', 'what is read'), (tmp_path/'o.jsonl', path, 'what is read'), (tmp_path/'o.jsonl', tmp_path/'o.jsonl', 'two files'), (tmp_path/'no'/'o.jsonl', '', 'make it first'), (tmp_path/'o.docx', '', 'ending'), (tmp_path/'o.jsonl', tmp_path, 'folder')):
        with pytest.raises(UserError, match=message): dedupe_file(path, out, clusters)
    with pytest.raises(UserError): dedupe_file(path, tmp_path/'o.jsonl', threshold=2)
    with pytest.raises(UserError, match='no column'): dedupe_file(path, tmp_path/'o.jsonl', text='body')
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ['in.jsonl']

def test_dedupe_file_writes_into_no_folder_it_reads_and_removes_nothing_of_others(tmp_path):
    (tmp_path/'d').mkdir()
    path = write(tmp_path/'d'/'a.jsonl', [dict(id='x', text='a'), dict(id='x', text='b')]); before = path.read_bytes()
    for source in (tmp_path/'d', str(tmp_path/'d'/'*.jsonl')):
        with pytest.raises(UserError, match='what is read'): dedupe_file(source, path)
    (tmp_path/'o.jsonl.rejected.jsonl').write_text('{"text": "mine"}')
    with pytest.raises(UserError, match='no list of such rows'): dedupe_file(path, tmp_path/'o.jsonl')
    (tmp_path/'o.jsonl.rejected.jsonl').write_text('{"source": "a:1", "reason": "old", "values": {}}')
    done = dedupe_file(path, tmp_path/'o.jsonl')
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == ['d', 'o.jsonl', 'o.jsonl.clusters.jsonl']
    assert done['repeated_ids'] == [dict(id='x', places=['a.jsonl:1', 'a.jsonl:2'])] and 'a.jsonl:2' in done['warnings'][0]

def test_a_killed_write_leaves_the_old_file(tmp_path):
    (tmp_path/'out.jsonl').write_text('old')
    code = f"from enterprise_lm.data.writing import *\nimport os\nwith replacing(r'{tmp_path}/out.jsonl') as (d,):\n    d.write_text('half'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, '-c', code])
    assert (tmp_path/'out.jsonl').read_text() == 'old' and len(list(tmp_path.iterdir())) == 2
    with replacing(tmp_path/'out.jsonl') as (draft,): draft.write_text('new')
    assert [p.name for p in tmp_path.iterdir()] == ['out.jsonl'] and (tmp_path/'out.jsonl').read_text() == 'new'

@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries(dict(id=st.integers(-2**70, 2**70), text=st.text(st.characters(blacklist_categories=['Cs', 'Cc']), min_size=1), n=st.one_of(st.none(), st.floats(allow_nan=False), st.booleans()))), min_size=1, max_size=8))
def test_written_rows_read_back(tmp_path_factory, rows):
    from enterprise_lm.data.files import records
    columns, folder = Columns(), tmp_path_factory.mktemp('w')
    for r in rows: columns.note(r)
    for ending in ('csv', 'jsonl', 'parquet'):
        with replacing(folder/f'x.{ending}') as (draft,): write_rows(rows, draft, columns, ending)
        assert [r.values['text'] for r in records(folder/f'x.{ending}') if not r.reason] == [r['text'] for r in rows]

def test_rows_that_are_there_once_are_read_twice_and_rows_that_move_are_not_written(tmp_path):
    import sqlite3
    from enterprise_lm.core.errors import WorkError
    from enterprise_lm.data.sampled import sample_file
    rows = [dict(id=f'r{i}', text=t) for i, t in enumerate(corpus())]
    source = write(tmp_path/'in.jsonl', rows)
    for name, make in dict(s=lambda source, out: sample_file(source, out, 20), d=dedupe_file).items():
        make(source, tmp_path/f'{name}.jsonl'); make(iter(rows), tmp_path/f'{name}2.jsonl')
        assert (tmp_path/f'{name}.jsonl').read_bytes() == (tmp_path/f'{name}2.jsonl').read_bytes()
    with sqlite3.connect(tmp_path/'rows.db') as database:
        database.execute('CREATE TABLE rows (text)'); database.executemany('INSERT INTO rows VALUES (?)', [(r['text'],) for r in rows])
    for make in (lambda source, out: sample_file(source, out, 20), dedupe_file):
        with pytest.raises(WorkError, match='the input changed while it was read'): make(f'sqlite:///{tmp_path/"rows.db"}#SELECT text FROM rows ORDER BY random()', tmp_path/'m.jsonl')
    changed = tmp_path/'changed.jsonl'; write(changed, rows)
    import enterprise_lm.data.dedupe as room
    index = room._index
    def writes_meanwhile(*args): made = index(*args); write(changed, rows[1:] + rows[:1]); return made
    room._index = writes_meanwhile
    try:
        with pytest.raises(WorkError, match='the input changed while it was read'): dedupe_file(changed, tmp_path/'m.jsonl')
    finally: room._index = index
    assert not list(tmp_path.glob('m.jsonl*')) and not list(tmp_path.glob('.*'))


@pytest.mark.parametrize('what', ['other rows', 'a row more', 'nothing left'])
@pytest.mark.parametrize('job', ['sample', 'dedupe'])
def test_a_file_that_changes_during_the_second_reading_is_refused(tmp_path, monkeypatch, job, what):
    from enterprise_lm.core.errors import WorkError
    from enterprise_lm.data import dedupe, sampled
    room, source = dict(sample=sampled, dedupe=dedupe)[job], tmp_path/'in.jsonl'
    def rows(word, count): source.write_text(''.join(json.dumps(dict(text=f'{word} {i} of room {i * 7} is dark')) + '\n' for i in range(count)))
    change = {'other rows': lambda: rows('door', 60), 'a row more': lambda: rows('lamp', 51), 'nothing left': source.unlink}[what]
    rows('lamp', 50)
    opened, open_sources = [], room.open_sources
    def then_changes(*given, **how):
        opened.append(open_sources(*given, **how))
        if len(opened) == 2:
            records = opened[1][0].records
            def some():
                yield next(records); change(); yield from records
            opened[1][0].records = some()
        return opened[-1]
    monkeypatch.setattr(room, 'open_sources', then_changes)
    with pytest.raises(WorkError, match='the input changed while it was read'):
        if job == 'sample': sampled.sample_file(source, tmp_path/'out.jsonl', 5)
        else: dedupe.dedupe_file(source, tmp_path/'out.jsonl')
    assert not list(tmp_path.glob('*out*'))
