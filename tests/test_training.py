"""A training that is killed anywhere and called again ends with the same bits; one that goes wrong says so."""
import hashlib, json, multiprocessing, os, signal, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pytest

# Where a process kills itself with signal 9: `step:N` before batch N, `half:N` in the middle of writing file number N,
# `whole:N` when file N is written and not yet in its place, `validate:N` in validation N, `save:1` while the artifact is made.
KILLS = ('step:1', 'step:6', 'step:11', 'half:2', 'whole:4', 'validate:2', 'save:1')

def kill_at(place, number):
    "Make this process kill itself."
    import torch
    from enterprise_lm.tasks.classify import Classify
    from enterprise_lm.training import resume, trainer
    counts = dict.fromkeys(('step', 'half', 'whole', 'validate', 'save'), 0)
    def due(here):
        counts[here] += 1
        return here == place and counts[here] == number
    def die(): os.kill(os.getpid(), signal.SIGKILL)
    def before(name, function):
        def changed(*all, **more):
            if due(name): die()
            return function(*all, **more)
        return changed
    save = torch.save
    def half(thing, file):
        save(thing, file)
        if due('half'): file.truncate(file.tell() // 2); file.flush(); die()
    torch.save, resume.os.replace = half, before('whole', os.replace)
    trainer.TrainingModule.training_step = before('step', trainer.TrainingModule.training_step)
    Classify.metrics = before('validate', Classify.metrics)
    trainer.write_model = before('save', trainer.write_model)

def train(home, corpus, kill):
    "One training in a process of its own: shuffled data, dropout on, two batches a step, often validated and kept."
    sys.stdout = sys.stderr = open(Path(home)/'log', 'w')
    from enterprise_lm.core.settings import get_settings
    from enterprise_lm.tasks.task import Recipe
    from enterprise_lm.training.trainer import fit
    if kill: kill_at(kill.split(':')[0], int(kill.split(':')[1]))
    model = fit('classify', corpus, Recipe('bert', max_length=24, seed=7), name='killed', settings=get_settings(home),
                options=dict(epochs=3, batch_tokens=96, accumulate=2, checkpoint_every=2, validate_every=3, learning_rate=.003, patience=0))
    (Path(home)/'digest').write_text(model.digest)

@pytest.fixture(scope='module')
def processes():
    "Processes forked from one that has imported torch, so that a dozen trainings take seconds and not minutes."
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['enterprise_lm.training.trainer', 'enterprise_lm.tasks.classify', 'enterprise_lm.models.family', 'transformers.models.bert.modeling_bert'])
    return context

def run(processes, home, corpus, kill=''):
    process = processes.Process(target=train, args=(str(home), str(corpus), kill))
    process.start(); process.join(200)
    return process.exitcode, (Path(home)/'log').read_text()

def weights(home):
    files = sorted(Path(home).glob('workspace/artifacts/model/[!.]*/model.safetensors'))
    assert len(files) == 1
    return hashlib.sha256(files[0].read_bytes()).hexdigest()

@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
    from enterprise_lm.data.corpus import prepare
    rows = [dict(id=str(i), text=f'{word} number {i} {other}', label=label) for i in range(15)
            for word, other, label in (('cancel', 'order', 'stop'), ('where', 'parcel', 'ask'), ('发票', '多少', 'pay'), ('灯', '坏了', 'broken'))]
    return prepare(rows, name='tiny', root=tmp_path_factory.mktemp('corpora')).path

@pytest.fixture(scope='module')
def undisturbed(processes, corpus, tmp_path_factory):
    home = tmp_path_factory.mktemp('undisturbed')
    code, log = run(processes, home, corpus)
    assert code == 0, log
    return home

def kill_and_resume(processes, home, corpus, kill):
    code, log = run(processes, home, corpus, kill)
    return code, log, list(Path(home).glob('workspace/training/*/last.ckpt')), *run(processes, home, corpus)

@pytest.fixture(scope='module')
def resumed(processes, corpus, tmp_path_factory):
    homes = {kill: tmp_path_factory.mktemp('killed') for kill in KILLS}
    with ThreadPoolExecutor(2) as pool: done = list(pool.map(lambda kill: kill_and_resume(processes, homes[kill], corpus, kill), KILLS))
    return {kill: (homes[kill], *result) for kill, result in zip(KILLS, done)}

@pytest.mark.parametrize('kill', KILLS)
def test_killed_and_called_again_ends_with_the_same_bits(resumed, undisturbed, kill):
    home, code, log, checkpoints, code_again, log_again = resumed[kill]
    assert code == -signal.SIGKILL, log
    assert bool(checkpoints) == (kill != 'step:1')                       # it went on from one, and did not begin anew
    assert code_again == 0, log_again
    assert weights(home) == weights(undisturbed)
    assert (home/'digest').read_text() == (undisturbed/'digest').read_text()   # figures and curves too
    assert not list(Path(home).glob('workspace/training/*'))             # nothing is left behind

def test_nothing_is_said_and_nothing_written_but_the_artifact(undisturbed):
    assert (undisturbed/'log').read_text() == ''
    assert {p.relative_to(undisturbed).parts[:2] for p in undisturbed.rglob('*') if p.is_file()} == {('log',), ('digest',), ('workspace', 'artifacts')}

def test_alarm_names_step_and_mend(corpus, tmp_path):
    from enterprise_lm.core.errors import WorkError
    from enterprise_lm.core.settings import get_settings
    from enterprise_lm.tasks.task import Recipe
    from enterprise_lm.training.trainer import fit
    with pytest.raises(WorkError, match=r'stopped at step \d+: the loss .* learning rate below'):
        fit('classify', corpus, Recipe('bert', max_length=24), name='wild', options=dict(max_steps=20, learning_rate=1e9, clip=0), settings=get_settings(tmp_path))
    assert not list((tmp_path/'workspace'/'training').iterdir())

@pytest.mark.parametrize('family', ('bert', 'gpt2'))
def test_overfits_eight_lines(tmp_path, family):
    from enterprise_lm.core.settings import get_settings
    from enterprise_lm.data.corpus import Corpus, prepare
    from enterprise_lm.models.family import load_model
    from enterprise_lm.tasks.task import Recipe
    from enterprise_lm.training.trainer import fit
    lines = {'where is my order': 'ask', 'when will it arrive': 'ask', '我的订单在哪里': 'ask', '包裹到哪了': 'ask',
             'the lamp is broken': 'broken', 'it will not turn on': 'broken', '灯打不开': 'broken', '屏幕碎了': 'broken'}
    files = {split: tmp_path/'data'/f'{split}.jsonl' for split in ('train', 'validation', 'test')}
    files['train'].parent.mkdir()
    for split, path in files.items():
        rows = lines.items() if split == 'train' else [(f'{split} {label}', label) for label in ('ask', 'broken')]
        path.write_text('\n'.join(json.dumps(dict(text=t, label=l), ensure_ascii=False) for t, l in rows))
    corpus = Corpus.load(prepare(tmp_path/'data', root=tmp_path/'corpora'))
    model = load_model(fit('classify', corpus, Recipe(family, max_length=24), name='eight', settings=get_settings(tmp_path),
                           options=dict(epochs=60, learning_rate=.003, patience=0, batch_tokens=512, validate_every=1000)))   # looked at once, at the end: the last weights are kept
    assert sum(label == found for (text, label), (found, _) in zip(lines.items(), model.predict(list(lines)))) == 8
