"""A batch job that is killed anywhere ends, when it is called again, with the bytes of an undisturbed run."""
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path
import pytest
from enterprise_lm.core.artifact import draft
from enterprise_lm.core.errors import UserError, WorkError
from enterprise_lm.core.settings import get_settings
from enterprise_lm.models.classifier import MajorityClassifier
from enterprise_lm.models.family import save_model
from enterprise_lm.models.tfidf import TfidfClassifier
from enterprise_lm.serving import batch
from enterprise_lm.serving.predictor import Predictor

LABELS = ('order', 'refund', '发票')

def lines():
    "130 rows, nine of them bad."
    for number in range(130):
        if number % 15 == 7: yield ('no json', '{"id": 7, "text": null}', '{"text": " "}')[number % 3]
        else: yield json.dumps(dict(id=f'n{number}', text=f'message {number} 包裹 {"about money" if number % 2 else "about a parcel"}'), ensure_ascii=False)

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('batch')
    (folder/'input.jsonl').write_text('\n'.join(lines()) + '\n', encoding='utf-8')
    return folder

def saved(folder, model):
    with draft('model', 'intent', root=folder/'artifacts') as d: save_model(d.path, model, {})
    return d.artifact

@pytest.fixture(scope='module')
def model(place):
    texts = ['where is my parcel', 'a parcel was lost', 'I want money back', 'money please', '开发票', '发票 抬头']
    return saved(place, TfidfClassifier().fit(texts, [l for l in LABELS for _ in range(2)]))

def run(model, place, output, **more):
    return batch.predict_file(model, place/'input.jsonl', output, chunk=10, settings=get_settings(place), **more)

def state(output):
    rejected = output.with_name(output.name + '.rejected.jsonl')
    return output.read_bytes(), rejected.read_bytes() if rejected.exists() else None

@pytest.fixture(scope='module')
def undisturbed(model, place):
    made = {}
    for ending in ('jsonl', 'csv', 'parquet'):
        output = place/f'undisturbed.{ending}'
        result = run(model, place, output)
        assert (result['rows'], result['rejected']) == (121, 9)
        made[ending] = state(output)
    return made

def killed(work, call:int, after:bool):
    "Run `work` in a child that is killed with SIGKILL at its `call`-th rename, before or after it; returns whether it was."
    child = os.fork()
    if child == 0:
        plain, seen = Path.replace, [0]
        def replace(self, target):
            seen[0] += 1
            if seen[0] == call and not after: os.kill(os.getpid(), signal.SIGKILL)
            plain(self, target)
            if seen[0] == call: os.kill(os.getpid(), signal.SIGKILL)
        Path.replace = replace
        try: work()
        finally: os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

@pytest.mark.parametrize('ending', ['jsonl', 'csv', 'parquet'])
def test_killed_at_each_rename_and_run_again(model, place, undisturbed, tmp_path, ending):
    predictor, kills = Predictor(model), 0
    for call in range(1, 20):
        for after in (False, True):
            output = tmp_path/f'out-{call}-{after}.{ending}'
            kills += killed(lambda: run(predictor, place, output), call, after)
            result = run(predictor, place, output)
            assert state(output) == undisturbed[ending], (call, after)
            assert (result['rows'], result['rejected']) == (121, 9)
    assert kills == 2 * 16   # the note, 13 parts, rejected rows, output
    assert not list(tmp_path.glob('.*'))

def test_killed_again_and_again(model, place, undisturbed, tmp_path):
    predictor, output = Predictor(model), tmp_path/'out.jsonl'
    assert all(killed(lambda: run(predictor, place, output), 3, True) for _ in range(5))
    assert not output.exists()
    run(predictor, place, output)
    assert state(output) == undisturbed['jsonl']

def test_killed_while_it_tidies_up(model, place, undisturbed, tmp_path):
    predictor, output = Predictor(model), tmp_path/'out.jsonl'
    child = os.fork()
    if child == 0:
        def half(folder, **more):
            for path in sorted(Path(folder).iterdir())[::2]: path.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        shutil.rmtree = half
        try: run(predictor, place, output)
        finally: os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    run(predictor, place, output)
    assert state(output) == undisturbed['jsonl'] and not list(tmp_path.glob('.*'))

def test_killed_from_outside_in_another_process(model, place, undisturbed, tmp_path):
    output = tmp_path/'out.jsonl'
    code = ('import sys, time; from enterprise_lm.serving import batch; from enterprise_lm.core.settings import get_settings\n'
            'plain = batch._write_part\n'
            'def slow(*a): plain(*a); time.sleep(.1)\n'
            'batch._write_part = slow\n'
            'batch.predict_file(sys.argv[1], sys.argv[2], sys.argv[3], chunk=10, settings=get_settings(sys.argv[4]))')
    child = subprocess.Popen([sys.executable, '-c', code, str(model.path), str(place/'input.jsonl'), str(output), str(place)])
    until = time.monotonic() + 60
    while not (tmp_path/'.out.jsonl.parts'/'00000004.jsonl').exists():
        assert child.poll() is None and time.monotonic() < until
        time.sleep(.01)
    child.kill(); child.wait()
    assert not output.exists()
    run(model, place, output)
    assert state(output) == undisturbed['jsonl']

def test_each_row_once_and_in_order(undisturbed):
    answered, rejected = ([json.loads(l) for l in part.decode().splitlines()] for part in undisturbed['jsonl'])
    assert [r['row'] for r in answered] == sorted({r['row'] for r in answered})
    assert sorted(r['row'] for r in answered + rejected) == list(range(1, 131))
    assert all(r['reason'] for r in rejected)

def test_changed_input_or_model_starts_afresh(model, place, tmp_path, capsys):
    output, source = tmp_path/'out.jsonl', tmp_path/'input.jsonl'
    shutil.copy(place/'input.jsonl', source)
    go = lambda m: batch.predict_file(m, source, output, chunk=10, settings=get_settings(place))
    predictor = Predictor(model)
    assert killed(lambda: go(predictor), 6, True)
    source.write_text(source.read_text(encoding='utf-8').replace('message 3 ', 'note 3 '), encoding='utf-8')
    go(model)
    assert 'starting afresh' in capsys.readouterr().err
    assert 'note 3 ' in output.read_text(encoding='utf-8')
    assert killed(lambda: go(predictor), 6, True)
    go(saved(place, MajorityClassifier().fit(['a'], ['always'])))
    assert {json.loads(l)['label'] for l in output.read_text(encoding='utf-8').splitlines()} == {'always'}

def test_a_damaged_part_is_made_again(model, place, undisturbed, tmp_path):
    predictor, output = Predictor(model), tmp_path/'out.jsonl'
    assert killed(lambda: run(predictor, place, output), 8, True)
    parts = sorted((tmp_path/'.out.jsonl.parts').glob('0*.jsonl'))
    parts[0].write_bytes(b''); parts[2].write_bytes(parts[2].read_bytes()[:-40])
    run(predictor, place, output)
    assert state(output) == undisturbed['jsonl']

def test_two_jobs_do_not_share_an_output(model, place, tmp_path):
    output = tmp_path/'out.jsonl'
    held = batch._open_journal(tmp_path/'.out.jsonl.parts', 'another')
    with pytest.raises(UserError, match='another job'): run(model, place, output)
    os.close(held)

def test_a_row_the_model_cannot_take_is_rejected_and_a_broken_model_says_so(place, tmp_path):
    class Picky(MajorityClassifier):
        def scores(self, texts):
            if any('message 5 ' in t for t in texts): raise RuntimeError('secret text')
            return super().scores(texts)
    picky = Picky().fit(['a'], ['fine'])
    assert run(Predictor(model=picky), place, tmp_path/'out.csv')['rejected'] == 10
    rejected = (tmp_path/'out.csv.rejected.jsonl').read_text(encoding='utf-8')
    assert 'the model failed on it (RuntimeError)' in rejected and 'secret' not in rejected
    class Broken(Picky):
        def scores(self, texts): raise RuntimeError('no')
    with pytest.raises(WorkError, match='failed on each'): run(Predictor(model=Broken().fit(['a'], ['fine'])), place, tmp_path/'none.csv')
    assert not (tmp_path/'none.csv').exists()

@pytest.mark.parametrize('name, content, answered, rejected', [
    ('a.csv', 'id,text\n1,"two\nlines"\n2,\n3,纸箱\n4,x,y\n', 2, 2), ('a.tsv', 'text\tid\nhello\t1\n\t2\n', 1, 1), ('a.txt', 'one\n\n三\n', 2, 1),
    ('bad.txt', b'fine\n\xff\xfe\x01\nfine too\n', 2, 1), ('bom.csv', b'\xef\xbb\xbftext\nhello\n', 1, 0), ('nul.jsonl', '{"text": "a\\u0000b"}\n{"text": "ok"}\n', 1, 1),
    ('pair.jsonl', '{"text": "\\ud800"}\n{"text": "😀"}\n', 1, 1), ('deep.jsonl', '[' * 50000 + '\n{"text": "ok"}\n', 1, 1), ('none.jsonl', 'no\n', 0, 1)])
@pytest.mark.parametrize('ending', ['jsonl', 'csv', 'tsv', 'parquet'])
def test_every_format_in_and_out(model, tmp_path, name, content, answered, rejected, ending):
    (tmp_path/name).write_bytes(content if isinstance(content, bytes) else content.encode())
    result = batch.predict_file(model, tmp_path/name, tmp_path/f'out.{ending}', settings=get_settings(tmp_path))
    assert (result['rows'], result['rejected']) == (answered, rejected)
    import pandas as pd
    read = dict(jsonl=lambda p: pd.DataFrame([json.loads(l) for l in p.read_text(encoding='utf-8').splitlines()]), csv=pd.read_csv,
                tsv=lambda p: pd.read_csv(p, sep='\t'), parquet=pd.read_parquet)[ending]
    assert len(read(tmp_path/f'out.{ending}')) == answered

POLICY = 'default: {prompts: mask}\ntypes:\n  SECRET: {prompts: refuse}\n'

class Sees(Predictor):
    "A predictor that keeps what it was asked."
    def classify(self, texts, **more):
        self.__dict__.setdefault('asked', []).extend(texts)
        return Predictor.classify(self, texts, **more)

@pytest.mark.parametrize('ending', ['jsonl', 'csv', 'parquet'])
def test_the_policy_of_prompts_holds_for_files(model, tmp_path, ending):
    (tmp_path/'settings.ini').write_text('[privacy]\npolicy = policy.yaml\n')
    (tmp_path/'policy.yaml').write_text(POLICY)
    rows = [dict(id='ann@loom.example', text='my name is John Carter, ring 13812345678'), dict(id='b', text='my key is AKIAIOSFODNN7EXAMPLE, mail bo@loom.example'),
            dict(id='c', text='我的包裹'), dict(id='d', text=7, note='ring 13812345678')]
    (tmp_path/'in.jsonl').write_text(''.join(json.dumps(r, ensure_ascii=False) + '\n' for r in rows), encoding='utf-8')
    output, sees = tmp_path/f'out.{ending}', Sees(model)
    result = batch.predict_file(sees, tmp_path/'in.jsonl', output, settings=get_settings(tmp_path))
    assert (result['rows'], result['rejected']) == (2, 2) and len(sees.asked) == 2
    refused = [json.loads(line) for line in open(f'{output}.rejected.jsonl', encoding='utf-8')]
    assert [r['row'] for r in refused] == [2, 4] and 'SECRET' in refused[0]['reason']
    kept = str(sees.asked) + str(refused) + (output.read_bytes().decode() if ending != 'parquet' else str(output.read_bytes()))
    assert not [v for v in ('John Carter', '13812345678', 'AKIAIOSFODNN7EXAMPLE', 'ann@loom.example', 'bo@loom.example') if v in kept]

def test_another_policy_is_another_job(model, place, tmp_path):
    (tmp_path/'settings.ini').write_text('[privacy]\npolicy = policy.yaml\n')
    keys = []
    for policy in (POLICY, POLICY.replace('refuse', 'mask')):
        (tmp_path/'policy.yaml').write_text(policy)
        door = batch.Door(batch.PromptGuard(get_settings(tmp_path)))
        keys.append(batch._key(place/'input.jsonl', Predictor(model), door.guard.facts))
    assert keys[0] != keys[1]

def test_foreign_letters_are_refused_at_any_length(tmp_path):
    with draft('model', 'intent', root=tmp_path/'artifacts', parameters=dict(languages=dict(en=5, zh=5))) as d:
        save_model(d.path, TfidfClassifier().fit(['where is my parcel', 'money please', '开发票', '我的包裹'], ['a', 'b', 'c', 'a']), {})
    (tmp_path/'ja.txt').write_text('荷物はどこですか\nカードが届きません\n', encoding='utf-8')
    with pytest.raises(UserError, match='in ja and model intent knows en, zh'): batch.predict_file(d.artifact, tmp_path/'ja.txt', tmp_path/'out.csv', settings=get_settings(tmp_path))
    (tmp_path/'mixed.txt').write_text('我的包裹在哪里\n환불해 주세요\nwhere is it\n我要ポケモン卡，什么时候发货\n', encoding='utf-8')
    result = batch.predict_file(d.artifact, tmp_path/'mixed.txt', tmp_path/'out.csv', settings=get_settings(tmp_path))
    assert (result['rows'], result['rejected']) == (3, 1)
    assert 'Hangul letters, which model intent has never seen' in (tmp_path/'out.csv.rejected.jsonl').read_text(encoding='utf-8')
