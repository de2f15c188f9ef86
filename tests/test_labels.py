"""Labels survive what people and machines do to them; agreement keeps its promises; the screen stores what was clicked."""
import os, re, signal, subprocess, sys, time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings as limits, strategies as st

from enterprise_lm.core.errors import UserError
from enterprise_lm.core.settings import get_settings
from enterprise_lm.data.adjudication import dawid_skene, disagreements, majority, resolve_labels
from enterprise_lm.data.agreement import agreement, cohen, fleiss, krippendorff_alpha, label_counts
from enterprise_lm.data.labels import current_guidelines, current_labels, list_guidelines, list_labels, store_label, write_guidelines
from enterprise_lm.data.selection import k_centers, select_items, text_vectors, uncertainty
from enterprise_lm.review.ballots import list_votes

pytest_plugins = ('postgres',)

root = Path(__file__).resolve().parents[1]
many = limits(max_examples=80, deadline=None)
writer = '''import sys
from enterprise_lm.core.settings import get_settings
from enterprise_lm.data.labels import store_label
folder, who, count = sys.argv[1:]
workspace = get_settings(folder)
for n in range(int(count)):
    store_label(f't-{n}', 'c@1', 'intent', 'refund', who, settings=workspace)
    print(n, flush=True)'''


@pytest.fixture
def workspace(tmp_path):
    (tmp_path/'settings.ini').write_text('')
    return get_settings(tmp_path)


def write(workspace, who, count):
    return subprocess.Popen([sys.executable, '-c', writer, str(workspace.root), who, str(count)], cwd=workspace.root, text=True,
                            stdout=subprocess.PIPE, env=os.environ | dict(PYTHONPATH=str(root)))


def test_two_label_at_once_and_a_killed_third_keeps_what_was_acknowledged(workspace):
    "All three begin on a database that does not exist yet."
    both, killed = [write(workspace, who, 60) for who in ('Mara', '李云')], write(workspace, 'Tom', 100_000)
    acknowledged = -1
    for line in killed.stdout:
        acknowledged = int(line)
        if acknowledged == 20: killed.send_signal(signal.SIGKILL); break
    rest = killed.stdout.read().split()
    acknowledged = int(rest[-1]) if rest else acknowledged
    killed.wait(timeout=20)
    for process in both: process.communicate(timeout=60); assert process.returncode == 0
    rows = list_labels(settings=workspace)
    for who in ('Mara', '李云'): assert [r['item'] for r in rows if r['annotator'] == who] == [f't-{n}' for n in range(60)]
    assert sum(r['annotator'] == 'Tom' for r in rows) - (acknowledged + 1) in (0, 1)
    assert store_label('t-0', 'c@1', 'intent', 'refund', 'Noor', settings=workspace) > 0


first = r'''
import sys, time
from pathlib import Path
from enterprise_lm.core.settings import get_settings
from enterprise_lm.data.labels import store_label
from enterprise_lm.review.ballots import cast_vote
folder, who, url = sys.argv[1:]
workspace, go = get_settings(folder, workspace__database=url), Path(folder)/'go'
print('ready', flush=True)
while not go.exists(): time.sleep(.0005)
if int(who) % 2: store_label('t-1', 'c@1', 'intent', 'refund', who, settings=workspace)
cast_vote('intent', 'a', 'b', 'left', who, 't-1', settings=workspace)
store_label('t-2', 'c@1', 'intent', 'refund', who, settings=workspace)'''


@pytest.mark.parametrize('database', ['sqlite', 'postgresql'])
def test_all_who_come_first_at_once_find_their_tables(workspace, database, request):
    "Who votes makes one table and who labels two: they meet half-way, on a database nobody has set up."
    url = request.getfixturevalue('postgres') if database == 'postgresql' else ''
    started = [subprocess.Popen([sys.executable, '-c', first, str(workspace.root), str(n), url], cwd=workspace.root, text=True, env=os.environ | dict(PYTHONPATH=str(root)),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE) for n in range(6)]
    for process in started: assert process.stdout.readline() == 'ready\n', process.stderr.read()
    (workspace.root/'go').touch()
    for process in started:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said[-2000:]
    workspace = get_settings(workspace.root, workspace__database=url)
    assert sorted(r['annotator'] for r in list_labels(settings=workspace)) == sorted('012345' + '135')
    assert sorted(v['reviewer'] for v in list_votes('intent', workspace)) == list('012345')


def test_a_correction_is_a_new_row(workspace):
    for label in ('refund', 'delivery'): store_label('t-1', 'c@1', 'intent', label, 'Mara', settings=workspace)
    store_label('t-1', 'c@2', 'intent', 'refund', 'Mara', settings=workspace)
    assert [r['label'] for r in list_labels('c@1', settings=workspace)] == ['refund', 'delivery']
    assert [(r['corpus'], r['label']) for r in current_labels(task='intent', settings=workspace)] == [('c@1', 'delivery'), ('c@2', 'refund')]


@pytest.mark.parametrize('field', ['item', 'corpus', 'task', 'label', 'annotator'])
@pytest.mark.parametrize('value', ['', ' \u200b', 'x' * 201, 'a\0b', 'a\nb', 'a\ud800', 'a\u202eb', None, 3, b'x'])
def test_hostile_names_are_refused(workspace, field, value):
    given = dict(item='t-1', corpus='c@1', task='intent', label='refund', annotator='Mara') | {field: value}
    with pytest.raises(UserError): store_label(**given, settings=workspace)
    assert list_labels(settings=workspace) == []


def test_hostile_text_is_kept_as_text_and_loses_personal_data(workspace):
    nasty = "'; drop table labels; -- <script>alert(1)</script> \0 \ud800 call +44 20 7946 0958, mara@brightloom.example 身份证11010519491231002X"
    store_label("t'; --", 'c@1', '<b>任务</b>', '"quoted" 退款', "O'Neil", nasty, settings=workspace)
    row, = list_labels(task='<b>任务</b>', settings=workspace)
    assert row['item'] == "t'; --" and row['label'] == '"quoted" 退款' and '<script>' in row['reason']
    for planted in ('mara@', '7946', '11010519491231002X'): assert planted not in row['reason']
    stored = b''.join(p.read_bytes() for p in workspace.home.rglob('*') if p.is_file())
    assert b'mara@' not in stored
    with pytest.raises(UserError, match='at most'): store_label('t', 'c@1', 'x', 'y', 'z', 'w' * 2001, settings=workspace)
    with pytest.raises(UserError, match='role'): store_label('t', 'c@1', 'x', 'y', 'z', role='admin', settings=workspace)


def test_guidelines_have_versions_and_labels_remember_them(workspace):
    store_label('t-0', 'c@1', 'intent', 'anything', 'Mara', settings=workspace)
    for text in ('first', 'second'): version = write_guidelines('intent', text, ['refund', '配送'], 'Mara', workspace)
    write_guidelines('topic', 'other', ['a', 'b'], 'Mara', workspace)
    assert version == 2 and current_guidelines('intent', workspace)['text'] == 'second' and len(list_guidelines('intent', workspace)) == 2
    store_label('t-1', 'c@1', 'intent', '配送', 'Mara', settings=workspace)
    assert [r['guidelines'] for r in list_labels(settings=workspace)] == [0, 2]
    with pytest.raises(UserError, match='unknown label'): store_label('t-1', 'c@1', 'intent', '配', 'Mara', settings=workspace)


def rows_of(table):
    "Rows from {item: {annotator: label}}."
    return [dict(item=i, annotator=a, label=l, role='annotator') for i, given in table.items() for a, l in given.items()]


tables = st.dictionaries(st.text(min_size=1, max_size=3), st.dictionaries(st.sampled_from('甲乙ab'), st.sampled_from(['x', 'y', '退款']), min_size=1), max_size=12)


@many
@given(st.lists(st.sampled_from(['x', 'y', 'z']), min_size=2, max_size=30).filter(lambda l: len(set(l)) > 1), st.integers(2, 5))
def test_perfect_agreement_is_one(labels, people):
    rows = rows_of({str(i): {f'p{n}': l for n in range(people)} for i, l in enumerate(labels)})
    for found in (agreement(rows, samples=20), agreement(rows, 'fleiss', samples=20), cohen(rows, 'p0', 'p1', samples=20)):
        assert found.value == pytest.approx(1) and (np.isnan(found.low) or found.low == pytest.approx(1))


@many
@given(tables, st.randoms(use_true_random=False))
def test_names_and_order_do_not_matter(table, rng):
    rows = rows_of(table)
    shuffled = [dict(r, annotator=r['annotator'] + '!', label='_' + r['label']) for r in rng.sample(rows, len(rows))]
    for measure in ('krippendorff', 'fleiss'):
        a, b = (agreement(r, measure, samples=0).value for r in (rows, shuffled))
        assert a == pytest.approx(b, nan_ok=True) and (np.isnan(a) or a <= 1 + 1e-9)
    assert {i: c for i, (_, c) in majority(rows).items()} == {i: c for i, (_, c) in majority(shuffled).items()}
    assert {d['item'] for d in disagreements(rows)} == {i for i, given in table.items() if len(set(given.values())) > 1}


@many
@given(tables)
def test_what_cannot_be_measured_is_said(table):
    for measure in ('krippendorff', 'fleiss'):
        found = agreement(rows_of(table), measure, samples=20)
        assert 'nan' not in str(found) and (found.note or found.items >= 10)
        assert np.isnan(found.low) or found.low <= found.high


def test_known_values():
    "Figures from the literature: Fleiss 1971 as quoted widely, and a hand count for Cohen."
    counts = np.array([[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
                       [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]])
    assert fleiss(counts) == pytest.approx(.210, abs=.001)
    pairs = ['yy'] * 20 + ['yn'] * 5 + ['ny'] * 10 + ['nn'] * 15
    found = cohen(rows_of({str(i): dict(a=p[0], b=p[1]) for i, p in enumerate(pairs)}), 'a', 'b')
    assert found.value == pytest.approx(.4) and found.low < .4 < found.high
    units = '1 1 . 1; 2 2 3 2; 3 3 3 3; 3 3 3 3; 2 2 2 2; 1 2 3 4; 4 4 4 4; 1 1 2 1; 2 2 2 2; . 5 5 5; . . 1 1; . . 3 .'
    table = {str(i): {f'p{n}': l for n, l in enumerate(u.split()) if l != '.'} for i, u in enumerate(units.split(';'))}
    assert krippendorff_alpha(label_counts(rows_of(table))[0]) == pytest.approx(.743, abs=.001)


def test_dawid_skene_outvotes_the_careless_and_is_named_when_missing(monkeypatch):
    rng = np.random.default_rng(1)
    truth = rng.choice(['a', 'b', 'c'], 200)
    table = {str(i): dict(good=t, fine=t if rng.random() < .9 else 'a', kai='a', lea='a') for i, t in enumerate(truth)}
    rows = rows_of(table)
    found, reliable = dawid_skene(rows)
    assert np.mean([found[str(i)][0] == t for i, t in enumerate(truth)]) > .9 and reliable['good'] > reliable['kai']
    assert dawid_skene([]) == ({}, {}) and resolve_labels([], 'dawid_skene') == {}
    monkeypatch.setitem(sys.modules, 'crowdkit.aggregation', None)
    with pytest.raises(UserError, match=re.escape("pip install 'enterprise_lm[labels]'")): dawid_skene(rows)


@many
@given(st.lists(st.text(max_size=20), max_size=25), st.integers(1, 30), st.integers(0, 5))
def test_selection_takes_each_text_once_and_the_same_ones_again(texts, count, seed):
    rng = np.random.default_rng(seed)
    for probabilities in (None, rng.dirichlet(np.ones(3), size=len(texts)).reshape(-1, 3)):
        chosen = select_items(texts, count, probabilities)
        assert chosen == select_items(texts, count, probabilities) and len(set(chosen)) == len(chosen) == min(count, len(texts))
        assert all(0 <= n < len(texts) for n in chosen)


def test_selection_refuses_what_is_no_probability():
    for bad in ([.5, .5], [[1.]], [[2., -1.]], [[float('nan'), .5]]):
        with pytest.raises(UserError): uncertainty(bad)
    vectors = text_vectors(['refund please', 'refund please!', '灯不亮了', '灯坏了'])
    assert k_centers(vectors, 2, taken=[0])[0] in (2, 3) and k_centers(vectors, 9, taken=[0, 1]) in ([2, 3], [3, 2])
