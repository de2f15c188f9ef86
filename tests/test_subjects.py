"""A person is erased from everything a pipeline made of her tickets, and the certificate is true."""
import json, shutil
from pathlib import Path

from enterprise_lm.subjects import search_bytes

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
