"""A person is erased from everything a pipeline made of her tickets, and the certificate is true."""
import json, shutil
from pathlib import Path

import pytest

from enterprise_lm.core.settings import get_settings
from enterprise_lm.data.convert import convert
from enterprise_lm.data.corpus import Corpus, prepare
from enterprise_lm.data.dedupe import dedupe_file
from enterprise_lm.data.redaction import redact_file
from enterprise_lm.data.subjects import erased_since, note_erased, settings_of, subject_key
from enterprise_lm.subjects import erase, find_subject, search_bytes

root = Path(__file__).resolve().parents[1]
pipeline = '''name: tickets
parameters: {}
steps:
  prepare: {notebook: prepare_corpus.ipynb, parameters: {data: "sample://tickets", name: tickets}}
  majority: {notebook: train_model.ipynb, parameters: {corpus: "${prepare.corpus}", family: majority, name: majority}}
  tfidf: {notebook: train_model.ipynb, parameters: {corpus: "${prepare.corpus}", family: tfidf, name: tfidf}}
  evaluate: {notebook: evaluate.ipynb, parameters: {corpus: "${prepare.corpus}", models: ["${majority.model}", "${tfidf.model}"], name: tickets}}
  release: {notebook: release.ipynb, state: [registry, votes], parameters: {report: "${evaluate.report}", corpus: "${prepare.corpus}", model: tickets}}
'''


def test_erasure_through_a_pipeline(tmp_path, run_elm):
    (tmp_path/'pipelines').mkdir()
    for notebook in (root/'pipelines').glob('*.ipynb'): shutil.copy(notebook, tmp_path/'pipelines')
    (tmp_path/'pipelines'/'tickets.yaml').write_text(pipeline)
    (tmp_path/'settings.ini').write_text('[privacy]\npolicy = policy.yaml\n')
    (tmp_path/'policy.yaml').write_text('default: {intake: mask}\n')
    before = run_elm('run', 'tickets', '--json', folder=tmp_path).answer
    assert before['state'] == 'done'

    found = run_elm('subject', 'person-001', '--plan', 'plan.json', '--json', folder=tmp_path).answer
    kinds = [h['kind'] for h in found['holdings']]
    assert {'corpus', 'model', 'report', 'release', 'run', 'version'} <= set(kinds)
    plan = (tmp_path/'plan.json').read_text()
    assert 'person-001' not in plan and json.loads(plan)['rows'] >= 1

    done = run_elm('subject', 'person-001', '--erase', '--json', folder=tmp_path).answer
    assert done['complete'] and not done['still_there'] and done['removed']['run'] == 1 and done['made_again'][0]['before'] == before['run']
    assert not run_elm('subject', 'person-001', '--json', folder=tmp_path).answer['holdings']
    assert not search_bytes(tmp_path/'workspace', [done['subject'].encode()], skip=('erased.txt',))[0]
    after = run_elm('run', 'tickets', '--json', folder=tmp_path).answer
    assert after['state'] == 'done' and not run_elm('subject', 'person-001', '--json', folder=tmp_path).answer['holdings']
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
