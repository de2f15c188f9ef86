"""A person is found in everything that was made of her letters and in what she said, and erased from all of it."""
import json, os, shutil, time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import assume, given, settings, strategies as st

from enterprise_lm.core.artifact import draft, list_artifacts
from enterprise_lm.core.errors import UserError
from enterprise_lm.core.settings import get_settings
from enterprise_lm.core.store import engine
from enterprise_lm.data.concept_library import build_library, open_library
from enterprise_lm.data.concept_versions import parts_of
from enterprise_lm.data.convert import convert
from enterprise_lm.data.corpus import Corpus, prepare
from enterprise_lm.data.dedupe import dedupe_file
from enterprise_lm.data.label_export import corpus_key
from enterprise_lm.data.labels import list_labels, store_label
from enterprise_lm.data.profiles import build_profiles, profile_without, read_profiles
from enterprise_lm.data.leave_out import leave_out
from enterprise_lm.data.redaction import redact_file
from enterprise_lm.data.refresh import find_corpus, refresh
from enterprise_lm.data.subjects import erased_since, note_erased, record_subjects, settings_of, subject_key, subject_marker
from enterprise_lm.evidence import Known, is_telling, name_pattern
from enterprise_lm.opinions import _is_text, edits_without, names_of, opinions_of, rewrite_database, take_name_off, take_out_of_edits
from enterprise_lm.pipelines.runner import run_pipeline
from enterprise_lm.release.registry import get_aliases, resolve
from enterprise_lm.review.ballots import cast_vote, list_votes
from enterprise_lm.subjects import erase, erasure_plan, find_subject, plan_erasure, search_bytes, tell_plan
from enterprise_lm.written import _copy_lines, _copy_lines_of_rows, _rows_in, _input_name, note_written, rows_asked, written_files

root = Path(__file__).resolve().parents[1]
pipeline = '''name: tickets
parameters: {}
steps:
  prepare: {notebook: prepare_corpus.ipynb, parameters: {data: "sample://tickets", name: tickets}}
  convert: {notebook: convert_text.ipynb, parameters: {data: "sample://tickets", format: csv, name: tickets}}
  majority: {notebook: train_model.ipynb, parameters: {corpus: "${prepare.corpus}", family: majority, name: majority}}
  tfidf: {notebook: train_model.ipynb, parameters: {corpus: "${prepare.corpus}", family: tfidf, name: tfidf}}
  evaluate: {notebook: evaluate.ipynb, parameters: {corpus: "${prepare.corpus}", models: ["${majority.model}", "${tfidf.model}"], name: tickets}}
  release: {notebook: release.ipynb, state: [registry, votes], parameters: {report: "${evaluate.report}", corpus: "${prepare.corpus}", model: tickets}}
'''


@pytest.mark.timeout(900)
def test_erasure_through_a_pipeline(tmp_path, run_elm):
    (tmp_path/'pipelines').mkdir()
    for notebook in (root/'pipelines').glob('*.ipynb'): shutil.copy(notebook, tmp_path/'pipelines')
    (tmp_path/'pipelines'/'tickets.yaml').write_text(pipeline)
    (tmp_path/'settings.ini').write_text('[privacy]\npolicy = policy.yaml\nkey = file:privacy.key\n')   # what the gate sees follows from the key
    (tmp_path/'privacy.key').write_text('the same key in every run\n')
    (tmp_path/'policy.yaml').write_text('default: {intake: mask}\n')
    before = run_elm('run', 'tickets', '--json', folder=tmp_path).answer
    assert before['state'] == 'done'

    here = get_settings(tmp_path)
    for item, annotator in (('en-001', 'person-002'), ('en-009', 'person-001')): store_label(item, 'tickets@1', 'topic', 'billing', annotator, settings=here)
    cast_vote('other', 'a' * 64, 'b' * 64, 'left', 'Person-001 ', 'en-009', reason='person-001 wrote it better', settings=here)

    found = run_elm('subject', 'person-001', '--plan', 'plan.json', '--json', folder=tmp_path).answer
    kinds = [h['kind'] for h in found['holdings']]
    assert {'corpus', 'converted', 'model', 'report', 'release', 'run', 'version', 'labels', 'annotator', 'reviewer', 'remark'} <= set(kinds)
    plan = (tmp_path/'plan.json').read_text()
    assert 'person-001' not in plan and json.loads(plan)['rows'] >= 1

    planned = json.loads(plan)
    assert planned['serving'] == [dict(model='tickets', version='2', successor='tickets')] and planned['not_made_again'] == []
    stopped = run_elm('subject', 'person-001', '--erase', folder=tmp_path, code=1)   # 29 texts tell the gate nothing
    assert 'version 2 of tickets, which serves, goes: another serves if the gate of tickets lets it' in stopped.stderr
    assert 'did not pass the gate' in stopped.stderr and 'call with --force' in stopped.stderr and '--plan' in stopped.stderr
    assert get_aliases('tickets', here)['champion'] == '2' and resolve('tickets', settings=here).verify() == []
    done = run_elm('subject', 'person-001', '--erase', '--force', '--json', folder=tmp_path).answer
    assert done['not_serving'] == ['tickets'] and 'champion' not in get_aliases('tickets', here) and done['not_made_again'] == []
    assert done['complete'] and not done['still_there'] and done['removed']['run'] == 1 and done['made_again'][0]['before'] == before['run']
    assert not run_elm('subject', 'person-001', '--json', folder=tmp_path).answer['holdings']
    assert not search_bytes(tmp_path/'workspace', [done['subject'].encode()], skip=('erased.txt',))[0]
    assert done['renamed'] == dict(annotator=1, reviewer=1, remark=1) and done['removed']['labels'] == 1
    label, vote = list_labels(settings=here), list_votes('other', here)
    assert [(l['item'], l['label']) for l in label] == [('en-009', 'billing')] and vote[0]['choice'] == 'left'
    assert label[0]['annotator'] == vote[0]['reviewer'] == vote[0]['reason'].split()[0] and label[0]['annotator'].startswith('erased-')
    assert not any(b'erson-001' in path.read_bytes() for path in (tmp_path/'workspace').glob('workspace.db*'))
    run_elm('prepare', 'sample://tickets', '--output', 'tickets', '--json', folder=tmp_path)
    assert not run_elm('subject', 'person-001', '--json', folder=tmp_path).answer['holdings']
    assert not run_elm('verify', '--json', folder=tmp_path).answer['problems']


def workspace(folder, settings='[privacy]\n'):
    "Settings of a new workspace, another than the working folder's."
    folder.mkdir(); (folder/'settings.ini').write_text(settings)
    return get_settings(folder)


def write_rows(path, rows):
    path.write_text(''.join(json.dumps(r, ensure_ascii=False) + '\n' for r in rows), encoding='utf-8')
    return path


def marks(corpus): return {r['subject'] for side in corpus.splits for r in corpus[side].rows()}


def test_a_workspace_elsewhere_keeps_its_own_key(tmp_path, monkeypatch):
    here, there = workspace(tmp_path/'here'), workspace(tmp_path/'there', '[workspace]\nhome = kept\n')
    monkeypatch.chdir(here.root)
    artifacts = there.folder('artifacts')
    assert settings_of(artifacts).root == there.root and settings_of(tmp_path/'else').root == here.root == settings_of().root
    made = prepare('sample://tickets', root=artifacts)
    assert subject_key('person-001', there) in marks(Corpus(made)) and not (here.home/'keys').exists()
    assert marks(Corpus(prepare('sample://tickets', root=artifacts, settings=here))) & {subject_key('person-001', here)}


def test_erasing_elsewhere(tmp_path, monkeypatch):
    here, there = workspace(tmp_path/'here'), workspace(tmp_path/'there')
    monkeypatch.chdir(here.root)
    prepare('sample://tickets', name='tickets', root=there.folder('artifacts'))
    certificate = erase('person-001', None, there).json('erasure.json')
    assert certificate['complete'] and certificate['removed'] == dict(corpus=1)
    again = Corpus(prepare('sample://tickets', name='tickets', root=there.folder('artifacts')))
    assert certificate['subject'] == subject_key('person-001', there) and certificate['subject'] not in marks(again)
    assert not (here.home/'erased.txt').exists() and not (here.home/'artifacts'/'erasure').exists()


def letters_by(path, who, count):
    "Letters of many, one of them by `who`."
    words = 'lamp door sofa charger kettle window carpet switch ladder mirror basket teapot'.split()
    rows = [dict(text=f'My {words[n % 12]} number {n} arrived broken, and the {words[n * 7 % 12]} is missing; case {n * 7919}.',
                 user_id=who if n == 4 else f'c-{n}') for n in range(count)]
    return write_rows(path, rows)


def test_what_was_made_by_hand_goes_on_as_it_was(tmp_path, monkeypatch):
    here = keyed(tmp_path/'here')
    monkeypatch.chdir(here.root)
    how = dict(name='mail', preparation='standard', seed=7, train=.6, split_by='group')
    old = [prepare(letters_by(here.root/'mail.jsonl', 'Ann Loom', n), **how) for n in (40, 60)]     # within a second, maybe
    build_library(old[1], 'terms', 2, 80, tagger=None)
    open_library('terms').add_label('lamp', '台灯', 'zh', who='r7')
    plan = plan_erasure(find_subject('Ann Loom'))
    assert plan['serving'] == plan['not_made_again'] == [] and {s['action'] for s in plan['steps']} >= {'build again'}

    done = erase('Ann Loom', None).json('erasure.json')
    assert done['complete'] and [m['kind'] for m in done['made_again']] == ['corpus', 'corpus', 'concepts']
    assert [m['before'] for m in done['made_again'][:2]] == [a.digest for a in old]
    new = [find_corpus(f'mail@{v}') for v in (1, 2)]
    assert [a.digest for a in new] == [m['after'] for m in done['made_again'][:2]] and find_corpus('mail').digest == new[1].digest
    for before, after in zip(old, new):
        assert after.parameters == before.parameters and after.seed == 7 and not after.verify()
    sides = {r['id']: (side, r['text'], r['source']) for side in Corpus(new[1]).splits for r in Corpus(new[1])[side].rows()}
    assert len(sides) == 59
    again = refresh('mail', 'mail.jsonl')
    assert again.parameters['preparation']['name'] == 'standard' and again.parameters['split_by'] == 'group'
    same = [r for side in Corpus(again).splits for r in Corpus(again)[side].rows() if sides.get(r['id']) == (side, r['text'], r['source'])]
    assert len(same) >= 57      # one row fewer moves each of the two cuts by one row at most

    terms = open_library('terms')
    assert '台灯' in terms.synonyms('lamp') and [p['digest'] for p in terms.artifact.parents] == [new[1].digest]
    how = terms.artifact.measurements['built']['mail']
    assert (how['minimum'], how['limit'], how['names'], how['corpus']) == (2, 80, False, new[1].digest)


def test_what_nothing_makes_again_is_told_before(tmp_path, monkeypatch):
    here = workspace(tmp_path/'here')
    monkeypatch.chdir(here.root)
    corpus = prepare(letters_by(here.root/'mail.jsonl', 'Ann Loom', 40), name='mail')
    alone = prepare([dict(text=f'my lamp is dark since day {n}', user_id='Ann Loom', group=f'{n}') for n in range(9)], name='alone')
    build_library([dict(text='My lamp is dark', user_id='Ann Loom')] * 3, 'list', tagger=None)
    with draft('model', 'router', parents=[corpus]) as made: (made.path/'model.json').write_text('{}')
    plan, told = plan_erasure(find_subject('Ann Loom')), []
    assert {what.split('@')[0] for what in plan['not_made_again']} >= {'corpus alone', 'model router'}
    assert 'corpus alone' in tell_plan(plan) and 'nothing here makes it again' in tell_plan(plan)
    done = erase('Ann Loom', None, tell=told.append).json('erasure.json')
    assert told == [plan] and done['complete'] and done['not_made_again'] == sorted(plan['not_made_again'])
    assert not alone.path.exists() and find_corpus('mail').digest == done['made_again'][0]['after']


def test_rows_are_taken_out_and_no_other_moves(tmp_path):
    here, rows = workspace(tmp_path/'here'), [dict(text=f'parcel {n} of {n * 37} is late', label='ab'[n % 2], user_id=f'c-{n % 9}') for n in range(90)]
    rows += [dict(rows[5]), dict(text='', user_id='c-5'), dict(text='', user_id='c-6')]
    old = Corpus(prepare(rows, name='mail', root=here.folder('artifacts'), preparation=dict(exact_duplicates=True)))
    mark, marked = subject_key('c-5', here), subject_marker(here)
    gone = {r['id'] for side in old.splits for r in old[side].rows() if r['subject'] == mark}
    new = Corpus(leave_out(old.artifact, lambda row: mark in record_subjects(row, marked), frozenset(gone), root=here.folder('artifacts')))
    for side in old.splits:
        assert list(new[side].rows()) == [r for r in old[side].rows() if r['id'] not in gone]
        assert new.info['splits'][side]['rows'] == len(new[side]) and sum(c.get(side, 0) for c in new.info['label_counts'].values()) == len(new[side])
    assert not search_bytes(new.artifact.path, [mark.encode()])[0] and not new.artifact.verify()
    assert len(new.artifact.file('rejected.jsonl').read_text().splitlines()) == 1 and new.info['funnel'][-1]['rows'] == sum(len(new[s]) for s in new.splits)


@pytest.mark.parametrize('who', ['Ann Loom', '王小明', '7'])
def test_no_tool_brings_the_erased_back(tmp_path, monkeypatch, who):
    here = workspace(tmp_path/'here')
    monkeypatch.chdir(here.root)
    rows = [dict(id=str(n), text=f'我的第{n}个包裹还没有到 parcel {n}', customer_id=who if n == 3 else 70 + n) for n in range(8)]
    source = write_rows(tmp_path/'letters.jsonl', rows)
    note_erased(subject_key(who), here)
    convert(source, tmp_path/'converted.jsonl')
    redact_file(source, tmp_path/'redacted.jsonl', tmp_path/'findings.jsonl', tagger=False)
    dedupe_file(source, tmp_path/'deduplicated.jsonl', threshold=1.)
    for made in ('converted', 'redacted', 'deduplicated'):
        kept = [json.loads(line)['id'] for line in (tmp_path/f'{made}.jsonl').read_text(encoding='utf-8').splitlines()]
        assert kept == [r['id'] for r in rows if r['id'] != '3'], made


def test_lists_of_the_erased_from_before_there_were_times(tmp_path):
    here = workspace(tmp_path/'here')
    here.home.mkdir(); (here.home/'erased.txt').write_text('s-0123456789abcdef\n')
    note_erased('s-fedcba9876543210', here); note_erased('s-0123456789abcdef', here)
    assert erased_since('s-0123456789abcdef', here) == '' and erased_since('s-fedcba9876543210', here).endswith('Z')
    assert erased_since('s-aaaaaaaaaaaaaaaa', here) is None


raw_pipeline = '''name: letters
steps:
  prepare: {notebook: prepare_corpus.ipynb, parameters: {data: letters.jsonl, name: letters, cache: true}}
  convert: {notebook: convert_text.ipynb, parameters: {data: letters.jsonl, format: parquet, name: letters}}
  redact: {notebook: redact_text.ipynb, parameters: {data: letters.jsonl, names: false, name: letters}}
  thin: {notebook: remove_duplicates.ipynb, parameters: {data: letters.jsonl, name: letters}}
  concepts: {notebook: build_concepts.ipynb, parameters: {corpus: letters.jsonl, name: letters, minimum: 2}}
  grow: {notebook: augment_corpus.ipynb, parameters: {corpus: "${prepare.corpus}"}}
'''
made_of_letters = {'converted', 'redacted', 'deduplicated', 'concepts', 'corpus', 'run'}


def letters():
    "Twelve letters; two people wrote one of them word for word the same."
    rows = [dict(text=f'The battery of my sensor lasted {n} days, please send me a new one soon.', user_id='Ann Loom' if n == 2 else f'c-{n}') for n in range(6)]
    rows += [dict(text=f'传感器的电池只用了{n}天就没电了，请尽快给我换一块新的，谢谢。', user_id='王小明' if n == 7 else f'c-{n}') for n in range(6, 12)]
    return rows + [dict(text='Please cancel my subscription today.', user_id=who) for who in ('Ann Loom', 'c-9')]


def raw_workspace(folder):
    there = workspace(folder)
    for notebook in (root/'pipelines').glob('*.ipynb'): shutil.copy(notebook, folder)
    write_rows(folder/'letters.jsonl', letters()); (folder/'letters.yaml').write_text(raw_pipeline)
    return there


@pytest.mark.timeout(900)
def test_files_made_without_a_corpus(tmp_path, monkeypatch):
    there, here = raw_workspace(tmp_path/'there'), workspace(tmp_path/'here')
    monkeypatch.chdir(there.root)
    assert run_pipeline('letters.yaml', show=False).state == 'done'
    build_library('letters.jsonl', 'byhand', minimum=2, tagger=None)
    monkeypatch.chdir(here.root)

    for who in ('Ann Loom', ' ann  LOOM', '王小明'):
        found = find_subject(who, there)
        assert made_of_letters <= {h.kind for h in found.holdings}
        assert {h.name.split('@')[0] for h in found.holdings if h.kind == 'concepts'} == {'letters', 'byhand'}
        assert sum(h.kind == 'corpus' for h in found.holdings) == 2   # the augmented one too
        assert not any(value in json.dumps(erasure_plan(found), ensure_ascii=False) for value in (who, 'battery', '电池'))
    assert not find_subject('nobody', there).holdings

    done = erase('王小明', partial(run_pipeline, show=False), there).json('erasure.json')
    assert done['complete'] and done['made_again'][0]['kind'] == 'run'
    assert not any('王小明' in str(path.read_bytes(), 'utf-8', 'ignore') for path in (there.home/'artifacts').rglob('*') if path.is_file())
    done = erase('Ann Loom', partial(run_pipeline, show=False), there).json('erasure.json')
    assert done['complete'], done['still_there']
    kept = [a for a in list_artifacts('deduplicated', there.folder('artifacts'))]
    assert len(kept) == 1 and 'cancel my subscription' in kept[0].file('letters.jsonl').read_text(), 'the other who wrote the same stays'
    assert not find_subject('Ann Loom', there).holdings and not (here.home/'erased.txt').exists()


def converted(settings, rows, name='letters'):
    "An artifact whose origin nobody knows."
    with draft('converted', name, root=settings.folder('artifacts')) as made: write_rows(made.path/'letters.jsonl', rows)
    return made.artifact


def test_what_nothing_leads_to_is_searched(tmp_path):
    here, rows = workspace(tmp_path/'here'), letters()
    prepare(rows, name='letters', root=here.folder('artifacts'))
    by_words = converted(here, [dict(line=r['text']) for r in rows if r['user_id'] in ('王小明', 'c-1')], 'words')
    by_column = converted(here, [dict(body='…', Customer_ID='ＡＮＮ loom')], 'column')
    converted(here, [dict(text='Please cancel my subscription today.', user_id='c-9')], 'other')
    def listed(who): return {h.name for h in find_subject(who, here).holdings if h.kind == 'converted'}
    assert listed('王小明') == {repr(by_words).split(' ')[1]} and listed('Ann Loom') == {repr(by_column).split(' ')[1]}
    assert listed(subject_key('王小明', here)) == listed('王小明')


def test_rows_of_nobody_that_name_her(tmp_path):
    here = workspace(tmp_path/'here')
    named = converted(here, [dict(text='请联系王小明先生，他在二楼。'), dict(text='Ask Ann Loom.', user_id='c-3')])
    held, = find_subject('王小明', here).holdings
    assert held.action.startswith('mask the name in the source') and held.rows == 0
    assert not find_subject('Ann Loom', here).holdings, 'the row is somebody else\'s'
    (here.home/'note.txt').write_text(f"{subject_key('Ann Loom', here)} called")
    done = erase('Ann Loom', None, here).json('erasure.json')
    assert not done['complete'] and done['still_there'] == ['note.txt'] and (here.home/'note.txt').exists() and named.path.exists()


@pytest.mark.parametrize('name', ['Rina', '王小明'])
def test_the_name_goes_and_the_opinion_stays(tmp_path, name):
    here = workspace(tmp_path/'here')
    for n in range(3): store_label(f'row-{n}', 'c@1', 'intent', 'billing', name, f'{name} thinks so', settings=here)
    store_label('row-1', 'c@1', 'intent', 'billing', f'{name}x', f'{name}x or Catarina', settings=here)
    store_label('row-1', 'c@1', 'intent', 'delivery', f' {name.upper()} ', 'decided', role='adjudicator', settings=here)
    vote = dict(left='a' * 64, right='b' * 64, choice='tie')
    for reviewer in (name, 'Ben'): cast_vote('m', reviewer=reviewer, item='row-1', reason=f'{name}说得对', settings=here, **vote)
    names = names_of(subject_key(name, here), here)
    assert names == {name, name.upper()} and opinions_of(names, here)['annotator'] == 3
    take_name_off(names, here); rewrite_database(here)
    labels, votes = list_labels(settings=here), list_votes('m', here)
    assert [l['label'] for l in labels] == ['billing'] * 4 + ['delivery'] and len({l['annotator'] for l in labels if l['annotator'].startswith('erased-')}) == 1
    assert [v['reviewer'] for v in votes][1] == 'Ben' and all(v['reason'].startswith('erased-') for v in votes)
    assert not opinions_of(names, here) and not take_name_off(names, here)
    if name == 'Rina': assert labels[3]['annotator'] == 'Rinax' and labels[3]['reason'] == 'Rinax or Catarina'


def test_names_that_tell_nothing_are_not_looked_for():
    assert not name_pattern(['7', '明', 'Jo']).search('7 明 Jo') and not is_telling('   ')
    assert name_pattern(['a.b*c@x.example']).search('mail A.B*C@x.example!') and not name_pattern(['Ann']).search('Annex, Joann')


def listed_places(subject, here):
    "Top places of the workspace that a list names."
    names = {Path(h.path).relative_to(here.home).parts[:3] for h in subject.holdings if h.path and Path(h.path).is_relative_to(here.home)}
    return names | {('concepts', f'{h.name}.edits.jsonl') for h in subject.holdings if h.kind in ('edits', 'editor')}


def test_the_list_knows_what_the_search_through_every_byte_finds(tmp_path, monkeypatch):
    here, rows = workspace(tmp_path/'here'), letters()
    monkeypatch.chdir(here.root)
    prepare(rows, name='letters')
    nobody = prepare([dict(text=r['text']) for r in rows if r['user_id'] != 'c-9'], name='nobody')
    prepare([dict(text='A lamp is dark.') for _ in range(1)] + [dict(text=f'The lamp in room {n} is dark.') for n in range(9)], name='lamps')
    library = build_library(nobody, 'shop', minimum=2, tagger=None)
    hers = next(r['text'] for r in rows if r['user_id'] == '王小明')
    quoted = dict(action='accept', who='Ben', edit='e1', concept=dict(id='c-1', examples=[dict(id='1', text=hers), dict(id='2', text='灯坏了')]))
    write_rows(here.folder('concepts')/'shop.edits.jsonl', [quoted, dict(quoted, edit='e2', who='王 小明', concept=dict(id='c-2'))])
    found = find_subject('王小明', here)
    assert {('corpus', 'nobody'), ('corpus', 'letters'), ('concepts', 'shop'), ('edits', 'shop'), ('editor', 'shop')} <= {(h.kind, h.name.split('@')[0]) for h in found.holdings}
    assert not any(h.name.startswith('lamps') for h in found.holdings)
    hits, _ = search_bytes(here.home, found.known.needles, skip=('keys', 'erased.txt'))
    assert hits and {Path(name).parts[:3] for name in hits} <= listed_places(found, here)

    assert take_out_of_edits(found.known, here) == dict(edits=2)
    kept = [json.loads(line) for line in (here.home/'concepts'/'shop.edits.jsonl').read_text().splitlines()]
    assert [e['edit'] for e in kept] == ['e1', 'e2'] and [e['text'] for e in kept[0]['concept']['examples']] == ['灯坏了']
    assert kept[1]['who'].startswith('erased-') and kept[0]['who'] == 'Ben' and library.path.exists()


def test_rows_of_nobody_do_not_come_back(tmp_path, monkeypatch):
    here, rows = workspace(tmp_path/'here'), letters()
    monkeypatch.chdir(here.root)
    prepare(rows, name='letters')
    known = find_subject('王小明', here).known
    assert known.own_texts == {r['text'] for r in rows if r['user_id'] == '王小明'}
    note_erased(known.mark, here, known.own_texts)
    source = write_rows(tmp_path/'copies.jsonl', [dict(text=r['text'].replace('，', '， ', 1)) for r in rows] + [dict(text=r['text'], user_id='c-3') for r in rows])
    convert(source, tmp_path/'kept.jsonl')
    kept = [json.loads(line) for line in (tmp_path/'kept.jsonl').read_text(encoding='utf-8').splitlines()]
    assert len(kept) == 2 * len(rows) and sum(r.get('user_id') is None for r in kept) == len(rows), 'another spelling is another text, and what others say is theirs'
    write_rows(source, [dict(text=' ' + r['text'].upper()) for r in rows])
    convert(source, tmp_path/'kept.jsonl')
    assert len((tmp_path/'kept.jsonl').read_text(encoding='utf-8').splitlines()) == len(rows) - 1
    (here.home/'artifacts').rename(here.home/'away')
    copied = converted(here, [dict(line=r['text']) for r in rows], 'copied')
    assert any(h.digest == copied.digest for h in find_subject('王小明', here).holdings), 'no text of hers is known any more, and it is found'


def test_files_that_commands_wrote(tmp_path, run_elm, monkeypatch):
    here, rows = workspace(tmp_path/'here'), letters()
    monkeypatch.chdir(here.root)
    write_rows(here.root/'letters.jsonl', rows)
    for output in ('kept.csv', 'changed.csv', 'gone.csv'): run_elm('convert', 'letters.jsonl', output, '--json', folder=here.root)
    (here.root/'gone.csv').unlink(); (here.root/'changed.csv').open('a').write('by hand,\n')
    assert {f.path.name for f in written_files(here)} == {'kept.csv', 'changed.csv'}
    held = {h.name: h.action for h in find_subject('Ann Loom', here).holdings}
    assert held == {'kept.csv': 'write it again without these rows', 'changed.csv': 'changed since: take her out by hand'}
    done = erase('Ann Loom', None, here).json('erasure.json')
    assert not done['complete'] and done['still_there'] == ['changed.csv'] and 'Ann Loom' not in (here.root/'kept.csv').read_text()
    assert done['not_found'] == ['gone.csv']
    assert len((here.root/'kept.csv').read_text(encoding='utf-8').splitlines()) == len(rows) - 1
    assert {h.name for h in find_subject('Ann Loom', here).holdings} == {'changed.csv'}, 'what is left stays on the list'
    monkeypatch.chdir(tmp_path)
    note_written(dict(output='here/kept.csv'), 'convert', 'x')
    assert not (tmp_path/'workspace').exists(), 'no workspace, no database'


def test_a_plan_replaces_no_other_file(tmp_path, run_elm):
    here = workspace(tmp_path/'here')
    for name, content in (('ok.csv', 'a,b\n'), ('other.json', '{"a": 1}')):
        (here.root/name).write_text(content)
        assert run_elm('subject', 'person-001', '--plan', name, '--json', folder=here.root, code=2).answer['error']
        assert (here.root/name).read_text() == content


def test_profiles_are_found_and_erased(tmp_path, monkeypatch):
    here, rows = workspace(tmp_path/'here', '[data]\nconsent = yes\n'), letters()
    monkeypatch.chdir(here.root)
    write_rows(here.root/'letters.jsonl', [dict(r, consent='no' if r['user_id'] == 'c-3' else 'yes') for r in rows])
    log = [dict(user='王小明', item='lamp', action='buy', time='2025-01-01', consent='yes'), dict(user='c-0', item='lamp', action='view')]
    made = build_profiles([str(here.root/'letters.jsonl'), str(write_rows(here.root/'log.jsonl', log))], 'all')
    profiles = {p['subject']: p for p in read_profiles(made)}
    assert subject_key('c-3') not in profiles and profiles[subject_key('王小明')]['interactions'] == 1 and not profiles[subject_key('c-0')]['interactions']
    assert made.json('profile.json')['left_out'] == {'no consent': 2}
    assert [h.kind for h in find_subject('王小明', here).holdings] == ['profile']
    less = profile_without(made, subject_key('王小明'))
    note_erased(subject_key('王小明'))
    again = build_profiles([str(here.root/'letters.jsonl'), str(here.root/'log.jsonl')], 'all')
    assert read_profiles(again) == read_profiles(less) and len(read_profiles(less)) == len(profiles) - 1


@given(label=st.text(st.one_of(st.characters(exclude_categories=['Cs', 'Cc']), st.sampled_from('\u2028\u2029\x85\x0b\x0c\x1c\r\n"\\')), max_size=20))
@settings(max_examples=30, deadline=None)
def test_no_label_breaks_the_lines_of_a_profile(tmp_path_factory, label):
    here = tmp_path_factory.mktemp('labels')
    write_rows(here/'rows.jsonl', [dict(customer_id=who, text='hello there', label=label) for who in ('c1', 'c2')])
    made = build_profiles(str(here/'rows.jsonl'), 'two', settings=get_settings(here), root=here/'artifacts')
    whose = {who: subject_key(who, get_settings(here)) for who in ('c1', 'c2')}
    assert [p['subject'] for p in read_profiles(made)] == sorted(whose.values())
    assert [p['subject'] for p in read_profiles(profile_without(made, whose['c1'], root=here/'artifacts'))] == [whose['c2']]


@pytest.mark.timeout(300)
def test_a_profile_that_a_run_made_is_made_again(tmp_path, monkeypatch):
    here, rows = workspace(tmp_path/'here'), letters()
    monkeypatch.chdir(here.root)
    shutil.copy(root/'pipelines'/'build_profiles.ipynb', here.root); write_rows(here.root/'letters.jsonl', rows)
    (here.root/'profile.yaml').write_text('name: profile\nsteps:\n  profile: {notebook: build_profiles.ipynb, parameters: {data: letters.jsonl, name: all}}\n')
    assert run_pipeline('profile.yaml', show=False).state == 'done'
    assert {h.kind for h in find_subject('王小明', here).holdings} == {'profile', 'run'}
    done = erase('王小明', partial(run_pipeline, show=False), here).json('erasure.json')
    assert done['complete'], done['still_there']
    made, = list_artifacts('profile', here.folder('artifacts'))
    assert {p['subject'] for p in read_profiles(made)} == {subject_key(r['user_id'], here) for r in rows} - {subject_key('王小明', here)}


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=0x4e00, max_codepoint=0x9fff), min_size=2, max_size=4), st.lists(st.sampled_from(['', ' ', '  ', '\u3000']), min_size=3, max_size=3),
       st.lists(st.sampled_from(['', ' ']), min_size=3, max_size=3))
def test_a_chinese_name_may_be_set_apart(name, gaps, other_gaps):
    def spaced(gaps): return ''.join(c + g for c, g in zip(name, gaps + ['', ''])).strip()
    assert name_pattern([spaced(other_gaps)]).search(f'收件人{spaced(gaps)}先生')
    assert not name_pattern([name]).search(name[:-1] + 'x' + name[-1])


def test_a_label_about_the_same_id_of_another_corpus_stays(tmp_path, monkeypatch):
    here = workspace(tmp_path/'here')
    monkeypatch.chdir(here.root)
    made = {name: prepare([dict(id=str(n), text=f'row {n} is about {name} number {n} and what it does in the night', customer_id=f'{name}{n}') for n in range(9)], name=name)
            for name in ('lamps', 'doors')}
    for name, corpus in made.items(): store_label('7', corpus_key(corpus), 'task', 'a', 'Bob', settings=here)
    store_label('7', 'lamps@gone', 'task', 'a', 'Bob', settings=here); store_label('7', 'doors@gone', 'task', 'a', 'Bob', settings=here)
    for text in ('row 7 is about lamps number 7 and what it does in the night', 'row 7 is about doors number 7 and what it does in the night'):
        cast_vote('other', 'a' * 64, 'b' * 64, 'left', 'Bob', '7', text, settings=here)
    done = erase('lamps7', None, here).json('erasure.json')
    assert done['complete'] and (done['removed']['labels'], done['removed']['votes']) == (2, 1)
    assert {l['corpus'].partition('@')[0] for l in list_labels(settings=here)} == {'doors'} and 'doors' in list_votes('other', here)[0]['text']


def test_answers_are_told_by_row_only_while_their_input_is_the_same(tmp_path, monkeypatch):
    here = workspace(tmp_path/'here')
    monkeypatch.chdir(here.root)
    def ask(ids): (here.root/'in.csv').write_text('text,customer_id\n' + ''.join(f'question number {i} of somebody,{i}\n' for i in ids))
    answers = here.root/'out.csv'
    def answer(): answers.write_text('row,id,text,label\n' + ''.join(f'{n},,x{n},a\n' for n in (2, 3, 4))); note_written(dict(output='out.csv'), 'predict', 'in.csv', here)
    ask(['c1', 'her-1', 'c3']); answer()
    assert [h.action for h in find_subject('her-1', here).holdings] == ['write it again without these rows']
    ask(['new', 'c1', 'her-1', 'c3'])
    before = answers.read_bytes()
    done = erase('her-1', None, here).json('erasure.json')
    assert answers.read_bytes() == before and not done['complete'] and done['still_there'] == ['out.csv']
    assert [h.action for h in find_subject('her-1', here).holdings] == ['its input changed since: take her out by hand']
    answers.write_text('row,id,text,label\n2,,x2,a\n4,,x4,a\n'); os.utime(answers, (time.time() + 5,) * 2)
    assert erase('her-1', None, here).json('erasure.json')['complete'], 'somebody took her out by hand'
    answer()
    with engine(here).begin() as connection: connection.exec_driver_sql('UPDATE files SET sha256 = substr(sha256, 1, 64)')   # of an earlier version
    assert [h.action for h in find_subject('c3', here).holdings] == ['its input changed since: take her out by hand']


def test_files_lose_nobody_else(tmp_path, monkeypatch):
    here = workspace(tmp_path/'here')
    monkeypatch.chdir(here.root)
    odd = [dict(text='half \ud800 of a text that is long enough to tell', customer_id='c3'), dict(text='nul \0', customer_id='her-1'), dict(text='fine', customer_id='c2')]
    (here.root/'in.jsonl').write_text('\n'.join(map(json.dumps, odd)) + '\n{"text": broken}\n')
    note_written(convert('in.jsonl', 'out.jsonl'), 'convert', 'in.jsonl', here)
    rejected = here.root/'out.jsonl.rejected.jsonl'
    rejected.chmod(0o600)
    lines = rejected.read_bytes().splitlines(keepends=True)
    done = erase('her-1', None, here).json('erasure.json')
    assert done['complete'] and rejected.read_bytes() == lines[0] + lines[2] and rejected.stat().st_mode & 0o777 == 0o600
    table = here.root/'out.json'
    table.write_text(json.dumps([dict(text='fine', customer_id='her-2'), odd[0]]))
    note_written(dict(output='out.json'), 'convert', 'in.jsonl', here)
    done = erase('her-2', None, here).json('erasure.json')
    assert not done['complete'] and done['still_there'] == ['out.json'] and len(json.loads(table.read_text())) == 2, 'her row alone cannot be taken out'
    assert not find_subject('her-1', here).holdings


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=30).map(lambda b: b.replace(b'\n', b'')), st.dictionaries(st.sampled_from(['who', 'text']), st.text(), max_size=2).map(lambda d: json.dumps(d).encode()))))
def test_lines_that_stay_are_copied_as_they_are(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp('lines')/'some.jsonl'
    hers = b'{"who": "her-1", "text": "x"}'
    path.write_bytes(b'\n'.join(x for line in lines for x in (line, hers)))
    _copy_lines(path, path.with_name('kept'), lambda values: values.get('who') == 'her-1')
    assert path.with_name('kept').read_bytes() == b''.join(line + b'\n' for line in lines)


odd_signs = st.text(st.sampled_from('a1@/?:;=&%.[]'), max_size=5)

@settings(max_examples=200, deadline=None)
@given(odd_signs, odd_signs, st.sampled_from(['postgresql://ann:{}@host/shop#SELECT 1', 'mssql+pyodbc:///?odbc_connect=PWD={}', 'postgresql:///shop?password={}#SELECT 1',
                                              'https://ann:{}@host/x.csv', 'https://host/x.csv?token={}', 'hub://shop/tickets?token={}', 'env:NO_SUCH#SELECT {}']))
def test_an_input_is_noted_without_secrets(before, after, address):
    assert 'secret' not in _input_name(address.format(f'{before}secret{after}'))


def test_rows_of_folders_and_patterns_that_commands_read(tmp_path, monkeypatch):
    here = workspace(tmp_path/'here')
    monkeypatch.chdir(here.root)
    for n in (1, 2): (here.root/'in').mkdir(exist_ok=True); write_rows(here.root/'in'/f'{n}.jsonl', [dict(text=f'letter {n}', customer_id='her-1'), dict(text=f'note {n}', customer_id='c2')])
    (here.root/'out.csv').write_text('text\nx\n')
    for source in ('in', 'in/*.jsonl'):
        note_written(dict(output='out.csv'), 'convert', source, here)
        monkeypatch.chdir(tmp_path)
        found = [[values['text'] for *_, values in rows_asked(subject_key('her-1', here), here, others)] for others in (False, True)]
        assert found == [['letter 1', 'letter 2'], ['note 1', 'note 2']], source
        monkeypatch.chdir(here.root)


def keyed(folder):
    "A workspace whose key, and so whose splits, are the same in every run."
    here = workspace(folder, '[privacy]\nkey = file:privacy.key\n')
    (folder/'privacy.key').write_text('the same key in every run\n')
    return here


@pytest.mark.parametrize('gone', [False, True], ids=['file there', 'file gone'])
def test_parts_of_a_library_that_do_not_hold_her_stay_as_they_are(tmp_path, monkeypatch, gone):
    here = keyed(tmp_path/'here')
    monkeypatch.chdir(here.root)
    (here.root/'notes.csv').write_text('title,remark\n' + ''.join(f'case {n},The garden hose and the garden table of my balcony are green {n}\n' for n in range(9)), encoding='utf-8')
    made = prepare(letters_by(here.root/'mail.jsonl', 'Ann Loom', 40), name='mail')
    build_library(made, 'terms', 2, 80, tagger=None)
    build_library('notes.csv', 'terms', 2, 80, tagger=None, text='remark')
    before = parts_of(open_library('terms').artifact)
    if gone: (here.root/'notes.csv').unlink()
    assert plan_erasure(find_subject('Ann Loom'))['not_made_again'] == []
    done = erase('Ann Loom', None).json('erasure.json')
    assert done['complete'] and done['not_made_again'] == []
    after = open_library('terms')
    assert parts_of(after.artifact)['notes.csv'] == before['notes.csv'] and {'garden hose', 'garden table'} <= {c.label for c in after}
    assert after.artifact.measurements['built']['notes.csv']['text'] == 'remark'


@pytest.mark.parametrize('state', ['there', 'gone', 'hers alone'])
def test_a_part_that_holds_her_is_read_as_it_was_or_told_of_before(tmp_path, monkeypatch, state):
    here = keyed(tmp_path/'here')
    monkeypatch.chdir(here.root)
    hers = [f'My zebra cabinet lost its left door on day {n} of the year.' for n in range(3)]
    mail = [json.loads(line) for line in letters_by(here.root/'mail.jsonl', 'c-4', 40).read_text(encoding='utf-8').splitlines()]
    made = prepare(mail + [dict(text=t, user_id='Ann Loom') for t in hers], name='mail')
    others = [f'c-{n};case {n};The garden hose and the garden table of my balcony are green {n}\n' for n in range(0 if state == 'hers alone' else 9)]
    (here.root/'notes.csv').write_text('customer_id;title;remark\n' + ''.join(others + [f'Ann Loom;case 4;{t}\n' for t in hers]), encoding='utf-8')
    build_library(made, 'terms', 2, 80, tagger=None)
    build_library('notes.csv', 'terms', 2, 80, tagger=None, text='remark')
    if state == 'gone': (here.root/'notes.csv').unlink()
    lost = [] if state == 'there' else ['part notes.csv of concepts terms']
    assert plan_erasure(find_subject('Ann Loom'))['not_made_again'] == lost
    done = erase('Ann Loom', None).json('erasure.json')
    assert done['complete'] and done['not_made_again'] == lost, done['still_there']
    after = parts_of(open_library('terms').artifact)
    assert set(after) == {'mail'} | ({'notes.csv'} if state == 'there' else set())
    if state == 'there': assert {'garden hose', 'garden table'} <= {c.label for c in after['notes.csv']} and 'zebra' not in str(after)


def test_a_library_of_a_corpus_of_hers_alone_is_told_of_before(tmp_path, monkeypatch):
    here = keyed(tmp_path/'here')
    monkeypatch.chdir(here.root)
    alone = prepare([dict(text=f'my garden lamp is dark since day {n}', user_id='Ann Loom', group=f'{n}') for n in range(9)], name='alone')
    build_library(alone, 'terms', 2, 80, tagger=None)
    plan = plan_erasure(find_subject('Ann Loom'))
    assert {what.split('@')[0] for what in plan['not_made_again']} == {'corpus alone', 'part alone of concepts terms'}
    done = erase('Ann Loom', None).json('erasure.json')
    assert done['complete'] and done['not_made_again'] == plan['not_made_again'] and not list_artifacts('concepts', here.folder('artifacts'))


def test_rows_of_nobody_that_name_her_stay_in_files(tmp_path, monkeypatch):
    here = workspace(tmp_path/'here')
    monkeypatch.chdir(here.root)
    write_rows(here.root/'in.jsonl', [dict(text='Ann Loom called about the lamp'), dict(text='fine', customer_id='Ann Loom')])
    note_written(convert('in.jsonl', 'out.jsonl'), 'convert', 'in.jsonl', here)
    done = erase('Ann Loom', None, here).json('erasure.json')
    assert [json.loads(line)['text'] for line in (here.root/'out.jsonl').read_text().splitlines()] == ['Ann Loom called about the lamp']
    assert not done['complete'] and [h.action for h in find_subject('Ann Loom', here).holdings] == ['mask the name in the source, then take her out by hand']


def test_short_texts_names_and_numbers_take_nothing_of_others(tmp_path, monkeypatch):
    here = keyed(tmp_path/'here')
    monkeypatch.chdir(here.root)
    said = [('100007', 'Please cancel my order'), ('c-8', 'Please cancel my order, I ordered the wrong lamp by mistake and want the green one'), ('c-9', 'Hello there. Please cancel my order. Thank you.')]
    rows = [dict(id=str(100000 + n), text=f'The lamp in room {n} hums all night long, what can I do?', label=('Mia', '100007')[n % 2], customer_id='Mia' if n == 3 else f'c{n}') for n in range(40)]
    rows += [dict(id=str(200000 + n), text=text, label='Mia', customer_id=who) for n, (who, text) in enumerate(said)]
    prepare(rows, name='letters')
    for who, hers in (('100007', {'200000'}), ('Mia', {'200000', '100003'})):
        facts = erase(who, None, here).json('erasure.json')
        assert facts['complete'], facts['still_there']
        left = Corpus.load(find_corpus('letters'))
        assert {r['id'] for side in left.splits for r in left[side].rows()} == {r['id'] for r in rows} - hers


def test_what_another_wrote_too_stays_with_her_copy_gone(tmp_path, monkeypatch):
    here, text = keyed(tmp_path/'here'), 'The parcel of last week has still not arrived at my door, please help'
    monkeypatch.chdir(here.root)
    rows = [dict(id=f'case-{n:08}', text=f'The lamp in room {n} hums all night long, what can I do?', customer_id=f'c{n}') for n in range(40)]
    rows = [dict(id='hers-00000001', text=text, customer_id='her'), *rows, dict(id='other-0000001', text=text, customer_id='other')]
    prepare(rows, name='letters', preparation=dict(exact_duplicates=True))
    facts = erase('her', None, here).json('erasure.json')
    assert facts['complete'], facts['still_there']
    left = find_corpus('letters')
    kept, = map(json.loads, left.file('rejected.jsonl').read_text().splitlines())
    assert kept['values']['id'] == 'other-0000001' and kept['values']['text'] == text and 'hers' not in json.dumps(kept)
    assert left.json('corpus.json')['findings'][-1]['rule'] == 'copies of erased' and left.json('corpus.json')['findings'][-1]['count'] == 1
    write_rows(here.root/'letters.jsonl', rows)
    again = Corpus(refresh('letters', 'letters.jsonl'))
    assert 'other-0000001' in {r['id'] for side in again.splits for r in again[side].rows()}, 'a refresh brings it back'


def test_a_remark_about_a_customer_loses_her_name(tmp_path):
    here = workspace(tmp_path/'here')
    store_label('row-1', 'c@1', 'intent', 'billing', 'Ben', 'customer-17 called twice, Customer-170 did not', settings=here)
    assert [h.kind for h in find_subject('customer-17', here).holdings] == ['remark']
    facts = erase('customer-17', None, here).json('erasure.json')
    assert facts['complete'] and facts['renamed'] == dict(remark=1), facts['still_there']
    label, = list_labels(settings=here)
    assert label['annotator'] == 'Ben' and label['reason'].startswith('erased-') and label['reason'].endswith('called twice, Customer-170 did not')


def test_a_profile_of_nobody_else_is_told_before(tmp_path, monkeypatch):
    here = workspace(tmp_path/'here', '[data]\nconsent = yes\n')
    monkeypatch.chdir(here.root)
    source = write_rows(here.root/'p.jsonl', [dict(user_id='her', text='My lamp is dark again, please help.', consent='yes')])
    build_profiles(str(source), 'clicks')
    planned = plan_erasure(find_subject('her', here), here)['not_made_again']
    facts = erase('her', None, here).json('erasure.json')
    assert [what.partition('@')[0] for what in planned] == ['profile clicks'] and facts['not_made_again'] == planned
    assert facts['complete'] and not list_artifacts('profile', here.folder('artifacts'))


def test_a_workspace_that_was_moved_or_copied_keeps_to_its_own_files(tmp_path, monkeypatch):
    first, rows = workspace(tmp_path/'first'), [dict(text=f'letter number {n} of somebody', customer_id=f'c{n % 3}') for n in range(6)]
    def left(folder): return {json.loads(line)['customer_id'] for line in (folder/'out.jsonl').read_text().splitlines()}
    monkeypatch.chdir(first.root)
    write_rows(first.root/'in.jsonl', rows)
    note_written(convert('in.jsonl', 'out.jsonl'), 'convert', 'in.jsonl', first)
    shutil.copytree(first.root, tmp_path/'copy')
    first.root.rename(tmp_path/'moved'); monkeypatch.chdir(tmp_path)
    copy, moved = get_settings(tmp_path/'copy'), get_settings(tmp_path/'moved')
    assert erase('c1', None, copy).json('erasure.json')['complete'] and left(copy.root) == {'c0', 'c2'} and left(moved.root) == {'c0', 'c1', 'c2'}
    done = erase('c2', None, moved).json('erasure.json')
    assert done['complete'] and done['not_found'] == [] and left(moved.root) == {'c0', 'c1'}
    note_written(convert(moved.root/'in.jsonl', tmp_path/'outside.jsonl'), 'convert', 'in.jsonl', moved)
    (moved.root/'out.jsonl').rename(moved.root/'kept.jsonl'); (tmp_path/'outside.jsonl').unlink()
    assert erase('c0', None, moved).json('erasure.json')['not_found'] == [str(tmp_path/'outside.jsonl'), 'out.jsonl']
    whole = 'UPDATE files SET path = ? WHERE path = ?', (str(copy.root/'out.jsonl'), './out.jsonl')   # as earlier versions noted it, after a copy
    with engine(moved).begin() as connection: connection.exec_driver_sql(*whole)
    done = erase('c2', None, moved).json('erasure.json')
    assert done['still_there'] == ['out.jsonl'] and left(copy.root) == {'c0', 'c2'}
    assert [h.action for h in find_subject('c2', moved).holdings] == ['it lies in another workspace: take her out there']


def test_a_vote_about_her_row_is_known_whatever_is_masked_now(tmp_path):
    here, text = keyed(tmp_path/'place'), 'ann.loom@home.example asks why the lamp in her room hums all night'
    rows = [dict(id=str(n), text=f'letter number {n} of somebody about lamps', customer_id=f'c{n}') for n in range(20)]
    prepare([*rows, dict(id='77', text=text, customer_id='her-1')], name='mail', settings=here)
    for said in (text, 'another letter with this number'): cast_vote('router', 'a' * 64, 'b' * 64, 'left', 'Bob', '77', said, settings=here)
    (here.root/'policy.yaml').write_text('default: {logs: pass}\n')
    (here.root/'settings.ini').write_text('[privacy]\nkey = file:privacy.key\npolicy = policy.yaml\n')
    assert erase('her-1', None, get_settings(here.root)).json('erasure.json')['complete']
    assert [v['text'] for v in list_votes('router', here)] == ['another letter with this number']


@given(st.lists(st.text('ab [].\n', max_size=8), min_size=1, max_size=5), st.data())
@settings(max_examples=150, deadline=None)
def test_a_mask_stands_for_anything_and_the_rest_for_itself(pieces, data):
    hidden = [data.draw(st.text('xyz\n', min_size=1, max_size=8)) for _ in pieces[1:]]
    text = pieces[0] + ''.join(h + p for h, p in zip(hidden, pieces[1:]))
    assert _is_text('[EMAIL]'.join(pieces), text) and not _is_text('[EMAIL]'.join(pieces) + 'c', text)


@pytest.mark.parametrize('name', ['Link', 'Merge', 'Add', 'label', 'accepted', 'broader'])
def test_a_name_that_is_a_word_of_the_format_takes_no_edit(tmp_path, name):
    here = keyed(tmp_path/'place')
    edit = dict(action=name.lower(), kind=name, status=name, relation=name, edit='e1', when='2026-01-01', language='en', who='Ben')
    whole = [edit | dict(why=f'as {name} said', concept=edit | dict(id='c-1', preferred=dict(en='lamp')))]
    without, = edits_without(whole, Known('s-' + '0' * 16, frozenset({name})), here, 'X')
    assert without == whole[0] | dict(why='as X said')


def test_what_could_not_be_erased_stays_on_the_list(tmp_path):
    here, text = keyed(tmp_path/'place'), 'Since the move my reading lamp hums at night and I cannot sleep any more'
    prepare([dict(text=f'letter number {n} of somebody about lamps', customer_id=f'c{n}') for n in range(20)]
            + [dict(text=text, customer_id='her-1')], name='mail', settings=here)
    memo = here.folder('notes/deep')/'memo.log'
    memo.write_text(f'she wrote: {text}'); os.utime(memo, (1, 1))
    told = [erase('her-1', None, here).json('erasure.json') for _ in range(4)]
    assert [(t['complete'], t['still_there']) for t in told] == [(False, ['notes/deep/memo.log'])] * 4
    memo.write_text('she wrote'); os.utime(memo, (time.time() + 60,) * 2)
    assert erase('her-1', None, here).json('erasure.json')['complete']


def test_remarks_that_quote_her_lose_the_quotation_and_labels_are_named(tmp_path):
    here, text = keyed(tmp_path/'place'), 'Since the move my reading lamp hums at night and I cannot sleep any more'
    rows = [dict(id=f'row-{n}', text=f'letter number {n} of somebody about lamps', customer_id=f'c{n}') for n in range(20)]
    corpus = prepare([*rows, dict(id='row-20', text=text, customer_id='her-1')], name='mail', settings=here)
    store_label('row-1', corpus_key(corpus), 'topic', 'lamps', 'Bob', f'unlike "{text}", which is noise', settings=here)
    assert ('quotation', 'put a word in the place of her words') in [(h.kind, h.action) for h in find_subject('her-1', here).holdings]
    done = erase('her-1', None, here).json('erasure.json')
    assert done['complete'] and done['removed']['quotation'] == 1
    reason = list_labels(settings=here)[0]['reason']
    assert reason.startswith('unlike "erased-') and reason.endswith('", which is noise') and len(reason) < 50

    other = 'My letter is a label by some mistake, and so it is found again and again'
    corpus = prepare([*rows, dict(id='row-21', text=other, customer_id='her-2')], name='more', settings=here)
    taken = store_label('row-1', corpus_key(corpus), 'topic', other, 'Bob', settings=here)
    assert [h.action for h in find_subject('her-2', here).holdings if h.kind == 'database'] == [f'take her words out of labels.label of row {taken}']
    assert erase('her-2', None, here).json('erasure.json')['still_there'] == ['workspace.db']


@pytest.mark.parametrize('text', ['[DEFAULT]\nlib_name = shop\n', '[shop]\nname = lamps\n', ''])
def test_a_project_with_settings_of_its_own_is_no_other_workspace(tmp_path, monkeypatch, text):
    here, project = keyed(tmp_path/'place'), tmp_path/'project'
    project.mkdir(); (project/'settings.ini').write_text(text)
    monkeypatch.chdir(here.root)
    Path('in.csv').write_text('customer_id,text\nher-1,my lamp is dark\nc2,the door\n')
    note_written(convert('in.csv', project/'out.csv'), 'convert', 'in.csv', here)
    assert erase('her-1', None, here).json('erasure.json')['complete'] and 'her-1' not in (project/'out.csv').read_text()
    assert not (project/'workspace').exists()


@given(st.lists(st.tuples(st.sampled_from(['her-1', 'c2', 'c3']), st.text('ab,;"\n\r\t 中\u2028\x0b', max_size=6)), min_size=1, max_size=8),
       st.sampled_from(',;\t'), st.sampled_from(['utf-8', 'utf-8-sig', 'gb18030', 'utf-16']))
@settings(max_examples=100, deadline=None)
def test_the_lines_of_others_in_a_table_are_all_there(tmp_path_factory, rows, separator, encoding):
    import csv, io
    path, told = tmp_path_factory.mktemp('table')/'a.csv', io.StringIO()
    csv.writer(told, delimiter=separator).writerows([('customer_id', 'note'), *rows])
    path.write_bytes(told.getvalue().encode(encoding))
    def hers(values): return values.get('customer_id') == 'her-1'
    try: before = [r.values for r in _rows_in(path, None) if r.values and not hers(r.values)]
    except UserError: assume(False)   # no table that anything reads
    draft = path.with_name('b.csv')
    if _copy_lines_of_rows(path, draft, hers, None):
        assert [r.values for r in _rows_in(draft, None) if r.values] == before


def test_a_table_with_a_broken_line_of_others_and_types_stay_as_they_are(tmp_path, monkeypatch):
    import pyarrow as arrow, pyarrow.parquet as parquet
    here, broken = keyed(tmp_path/'place'), 'customer_id,note\nher-1,my lamp is dark\nc2,the door, with a comma too many\nc3,fine\n'
    monkeypatch.chdir(here.root)
    Path('a.csv').write_text(broken); Path('g.csv').write_bytes('姓名;customer_id\r\n李雷;her-1\r\n"韩;梅";c2\r\n'.encode('gb18030'))
    Path('odd.json').write_text('[{"customer_id": "her-1"}, {"customer_id": "c2", "text": "half \\ud800"}]')
    typed = arrow.table(dict(customer_id=['her-1', 'c2'], score=[1.5, None]))
    parquet.write_table(typed, 'p.parquet'); parquet.write_table(typed[:1], 'q.parquet')
    for name in ('a.csv', 'g.csv', 'odd.json', 'p.parquet', 'q.parquet'): note_written(dict(output=name), 'convert', 'x', here)
    done = erase('her-1', None, here).json('erasure.json')
    assert not done['complete'] and done['still_there'] == ['odd.json'] and done['rewritten'] == {'file': 4}
    assert Path('a.csv').read_text() == broken.replace('her-1,my lamp is dark\n', '')
    assert Path('g.csv').read_bytes() == '姓名;customer_id\r\n"韩;梅";c2\r\n'.encode('gb18030')
    assert parquet.read_table('p.parquet') == typed[1:] and parquet.read_table('q.parquet') == typed[:0]
