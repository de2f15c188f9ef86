"""What merging and refreshing promise: the result of a full run, and no row whose origin is forgotten."""
import json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from enterprise_lm.core.errors import UserError
from enterprise_lm.core.settings import get_settings
from enterprise_lm.data.concept_library import build_library, open_library
from enterprise_lm.data.corpus import Corpus, prepare
from enterprise_lm.data.leave_out import leave_out
from enterprise_lm.data.refresh import changed_files, corpus_versions, find_corpus, merge, refresh
from enterprise_lm.data.subjects import note_erased
from enterprise_lm.remaking import make_again
from enterprise_lm.subjects import erase, find_subject

washed = dict(name='washed', cleaning='safe', rules='short', exact_duplicates=True, near_duplicates=.8, leakage=.8)
here = str(Path(__file__).parent.parent)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('ELM_WORKSPACE__HOME', str(tmp_path/'home'))
    return tmp_path


def lines(path, numbers, word='lamp'):
    path.write_text(''.join(json.dumps(dict(text=f'Case {n * 7919}: the {word} of customer {n} went dark after {n % 13} days. 灯坏了 {n}', label='ab'[n % 2])) + '\n' for n in numbers))


def test_a_refresh_is_a_full_run(home):
    data = home/'data'; data.mkdir()
    lines(data/'a.jsonl', range(30)); lines(data/'b.jsonl', range(20, 60))
    last = prepare(data, name='cases', root=home/'root', preparation=washed, cache=True)
    def check(read):
        nonlocal last
        last = refresh(last, data, home/'root')
        full = prepare(data, name='cases', root=home/'full', preparation=washed)
        assert last.digest == full.digest and last.measurements['files_read'] == read
    check(2)                                                     # nothing new: the corpus that is there stays, with what was noted then
    lines(data/'c.jsonl', range(100, 130)); check(1)             # a new file
    lines(data/'a.jsonl', range(200, 230)); check(1)             # a changed one
    (data/'b.jsonl').unlink(); check(0)                          # one that was withdrawn
    assert [v['version'] for v in corpus_versions('cases', home/'root')] == [1, 2, 3, 4]


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.integers(0, 40), min_size=5), min_size=2, max_size=4))
def test_any_history_ends_the_same(home, days):
    data = home/f'data{time.monotonic_ns()}'; data.mkdir()
    lines(data/'0.jsonl', range(50, 60))
    last = prepare(data, name='cases', root=home/'root', preparation=dict(name='x', exact_duplicates=True), cache=True)
    for n, numbers in enumerate(days):
        lines(data/f'{n % 2 + 1}.jsonl', sorted(numbers))
        last = refresh(last, data, home/'root')
    assert last.digest == prepare(data, name='cases', root=home/'full', preparation=dict(name='x', exact_duplicates=True)).digest


def test_the_settings_of_the_corpus_are_kept(home):
    data = home/'mail.csv'
    data.write_text('body;kind\n' + ''.join(f'message {i};{i % 2}\n' for i in range(40)))
    first = prepare(data, text='body', label='kind', seed=7, train=.6, name='mail', root=home/'root')
    assert refresh('mail', data, home/'root') == first
    with data.open('a') as file: file.write('one more;1\n')
    second = refresh('mail', data, home/'root')
    assert second.parameters['seed'] == 7 and second.parameters['text'] == 'body' and changed_files(first, second)['changed'] == ['mail.csv']
    assert second.measurements['previous'] == f'mail@{first.short}'


def test_a_damaged_cache_is_not_trusted_blindly(home):
    data = home/'data'; data.mkdir(); lines(data/'a.jsonl', range(40))
    first = prepare(data, root=home/'root', cache=True)
    for note in (home/'home'/'cache'/'prepare').glob('*.json'): note.unlink()  # what a kill between shard and note leaves
    again = prepare(data, root=home/'root2', cache=True)
    assert again == first and again.measurements['files_read'] == 1


def test_two_at_once_share_a_cache(home):
    data = home/'data'; data.mkdir()
    for f in range(4): lines(data/f'{f}.jsonl', range(f * 100, f * 100 + 80))
    script = "import sys; from enterprise_lm.data.corpus import prepare; print(prepare(sys.argv[1], root=sys.argv[2], cache=True).digest)"
    environment = dict(os.environ, PYTHONPATH=here)
    both = [subprocess.Popen([sys.executable, '-c', script, data, home/'root'], env=environment, stdout=subprocess.PIPE, text=True, cwd=home) for _ in range(2)]
    digests = {p.communicate(timeout=120)[0] for p in both}
    assert len(digests) == 1 and all(p.returncode == 0 for p in both)
    assert len(list((home/'root'/'corpus').glob('*'))) == 1 and not list((home/'home'/'cache'/'prepare').glob('.draft*'))


def test_merged_rows_say_where_they_are_from(home):
    lines(home/'a.jsonl', range(40)); lines(home/'b.jsonl', range(30, 80))
    a, b = (prepare(home/f'{n}.jsonl', name=n, root=home/'root') for n in 'ab')
    both = Corpus.load(merge(['a', b], root=home/'root'))
    assert {p['digest'] for p in both.artifact.parents} == {a.digest, b.digest} and not both.artifact.verify()
    rows = {name: {f"{name}@{c.short}/{s}:{n}": r for s in Corpus.load(c).splits for n, r in enumerate(Corpus.load(c)[s].rows(), 1)} for name, c in (('a', a), ('b', b))}
    origins = rows['a'] | rows['b']
    for side in both.splits:
        for row in both[side].rows(): assert origins[row['source']]['text'] == row['text'] and origins[row['source']]['label'] == row['label']
    assert not set(both['train'].texts) & set(both['test'].texts + both['validation'].texts)
    kept = sum(len(both[s]) for s in both.splits)
    lost = both.info['overlap'] + sum(f['count'] for f in both.findings if f['rule'] == 'exact duplicates')
    assert kept + lost == 90 and both.info['overlap']


def test_a_test_row_that_two_corpora_share_counts_once(home):
    lines(home/'a.jsonl', range(40)); lines(home/'b.jsonl', range(40, 80)); lines(home/'test.jsonl', range(100, 120))
    a, b = (prepare(home/f'{n}.jsonl', name=n, test=home/'test.jsonl', root=home/'root') for n in 'ab')
    both = Corpus.load(merge([a, b], root=home/'root'))
    assert sorted(both['test'].texts) == sorted(Corpus.load(a)['test'].texts) and len(both['test']) == 20
    left = [json.loads(l) for l in (both.artifact.path/'rejected.jsonl').open(encoding='utf-8')]
    assert sum(r['rule'] == 'exact duplicate' for r in left) == 20
    lines(home/'twice.jsonl', [*range(100, 110)] * 2)
    assert len(Corpus.load(prepare(home/'a.jsonl', name='given', test=home/'twice.jsonl', preparation=washed, root=home/'root'))['test']) == 20, 'one file stays as it was given'


def test_merge_refuses_what_does_not_fit(home):
    lines(home/'a.jsonl', range(40)); (home/'b.txt').write_text('\n'.join(f'plain text {i}' for i in range(40)))
    a, b = prepare(home/'a.jsonl', root=home/'root'), prepare(home/'b.txt', root=home/'root')
    with pytest.raises(UserError, match='has labels and b@.*has none'): merge([a, b], root=home/'root')
    both = Corpus.load(merge([a, b], root=home/'root', unlabelled='keep'))
    assert sum(len(both[s]) for s in both.splits) == 80 and sum(both[s].labels.count(None) for s in both.splits) == 40
    with pytest.raises(UserError, match='two sources'): merge([a], root=home/'root')
    with pytest.raises(UserError, match='unknown version'): merge([a, 'a@9'], root=home/'root')


def test_names_and_versions(home):
    lines(home/'a.jsonl', range(40))
    first = prepare(home/'a.jsonl', root=home/'root')
    assert find_corpus('a', home/'root') == find_corpus('a@1', home/'root') == find_corpus(f'a@{first.short}', home/'root') == find_corpus(first.path) == first
    for name in ('b', 'a@2', 'a@ffffffff', ''):
        with pytest.raises(UserError): find_corpus(name, home/'root')


def test_a_damaged_corpus_is_not_taken_for_a_missing_file(home):
    lines(home/'a.jsonl', range(40)); lines(home/'b.jsonl', range(40, 80))
    a, b = (prepare(home/f'{n}.jsonl', name=n, root=home/'root') for n in 'ab')
    with open(a.path/'train.arrow', 'r+b') as file: file.truncate(100)
    with pytest.raises(UserError, match='train.arrow'): merge(['a', 'b'], root=home/'root')
    with pytest.raises(UserError, match='no file, folder'): merge(['c', 'b'], root=home/'root')


def test_the_first_refresh_takes_up_what_prepare_kept(home):
    data = home/'data'; data.mkdir()
    lines(data/'a.jsonl', range(30)); lines(data/'b.jsonl', range(100, 130))
    first = prepare(data, name='cases', root=home/'root', cache=None, cleaning='case', rejected_limit=.7, unlabelled='drop')
    lines(data/'c.jsonl', range(200, 230)); (data/'c.jsonl').open('a').write('broken\n' * 40)
    second = refresh('cases', data, home/'root')
    assert (second.measurements['files_read'], second.measurements['files_reused']) == (1, 2)
    assert second.parameters['preparation']['cleaning'] == 'case' and second.parameters['unlabelled'] == 'drop' and second.measurements['rejected_limit'] == .7
    assert second.digest == prepare(data, name='cases', root=home/'full', cleaning='case', rejected_limit=.9, unlabelled='drop').digest


def test_a_damaged_corpus_stops_nobody_else(home, monkeypatch):
    from enterprise_lm.core.artifact import artifact_names
    from enterprise_lm.core.versions import named_artifact
    from enterprise_lm.data.concept_library import build_library
    from enterprise_lm.data.concept_versions import open_library
    from enterprise_lm.holdings import find_subject
    monkeypatch.chdir(home)
    lines(home/'a.jsonl', range(60)); lines(home/'b.jsonl', range(100, 160))
    good, bad = (prepare(home/f'{n}.jsonl', name=name) for n, name in (('a', 'good'), ('b', 'bad')))
    whole = (bad.path/'manifest.json').read_text()
    (bad.path/'manifest.json').write_text(whole[:300])
    assert find_corpus('good') == refresh('good', home/'a.jsonl') == named_artifact('good@1') == named_artifact('corpus/good') == good
    assert build_library(find_corpus('good'), 'words', tagger=None) and len(open_library('words'))
    with pytest.raises(UserError, match='unknown corpus `goof`.*did you mean `good`|allowed: bad, good'): find_corpus('goof')
    for ask in (lambda: find_corpus('bad'), lambda: named_artifact('bad'), lambda: prepare(home/'b.jsonl', name='bad'), lambda: find_subject('c-1')):
        with pytest.raises(UserError, match=f'{bad.path.name}/manifest.json is damaged'): ask()   # who looks for a person passes over nothing
    assert artifact_names('corpus') == ['bad', 'good']

    (bad.path/'manifest.json').write_text(whole)
    rows = (bad.path/'train.arrow').read_bytes()
    (bad.path/'train.arrow').write_bytes(rows[:len(rows) // 2])
    with pytest.raises(UserError, match=f'{bad.path.name}/train.arrow is damaged'): find_subject('c-1')


def letters_of(count, who='her', at=4):
    things = 'lamp door sofa charger kettle window carpet switch ladder mirror'.split()
    return [dict(id=f'case-{n}', text=f'My {things[n % 10]} number {n} arrived broken, and the {things[n * 7 % 10]} is missing; case {n * 7919}.', user_id=who if n == at else f'c-{n}') for n in range(count)]


def keyed_workspace(folder, monkeypatch):
    (folder/'settings.ini').write_text('[privacy]\nkey = file:privacy.key\n')
    (folder/'privacy.key').write_text('the same key in every run\n')
    monkeypatch.chdir(folder)
    return get_settings(folder)


def test_a_corpus_made_again_comes_after_the_one_it_stands_for(tmp_path, monkeypatch):
    here = keyed_workspace(tmp_path, monkeypatch)
    for name in 'abcdefgh':   # digests alone would put half of them right
        old = [prepare(letters_of(n, f'{name}-her'), name=name) for n in (20, 24)]
        subject = find_subject(f'{name}-her', here)
        note_erased(subject.mark, here, subject.known.own_texts)
        new = [m['after'] for m in make_again(subject, None, here).made]   # and no successor may serve: nothing is removed
        assert [v['digest'] for v in corpus_versions(name)] == [old[0].digest, new[0], old[1].digest, new[1]]
        twice = leave_out(find_corpus(name), lambda row: row['id'] == 'case-1')
        assert find_corpus(name).digest == twice.digest


@pytest.mark.parametrize('later', [False, True])   # another version of the library, made of the corpus that is pinned to it
def test_a_corpus_that_a_library_cleaned_can_be_refreshed_after_an_erasure(tmp_path, monkeypatch, later):
    here = keyed_workspace(tmp_path, monkeypatch)
    (tmp_path/'mail.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in letters_of(40)))
    mail = prepare('mail.jsonl', name='mail')
    build_library(mail, 'terms', 2, 80, tagger=None)
    clean = prepare('mail.jsonl', name='clean', preparation=dict(terms='terms'))
    if later: build_library(clean, 'terms', 2, 80, tagger=None)
    done = erase('her', None, here).json('erasure.json')
    assert done['complete'] and not done['not_made_again'] and clean.parameters['preparation']['terms'] == f'terms@{clean.parents[0]["digest"][:12]}'
    now, terms = find_corpus('clean'), open_library('terms').artifact
    assert now.parameters['preparation']['terms'] == ('terms' if later else f'terms@{terms.short}')
    assert [p['digest'] for p in now.parents] == ([] if later else [terms.digest])
    assert refresh('clean', 'mail.jsonl').parameters['preparation']['terms'] == f'terms@{terms.short}'
