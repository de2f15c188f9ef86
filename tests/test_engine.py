"""What the batch engine promises: the same rows in the same order, whatever runs them, and no process left behind."""
import os, signal, subprocess, sys, time
from pathlib import Path
import pytest
from hypothesis import given, settings, strategies as st
from enterprise_lm.core.errors import UserError, WorkError
from enterprise_lm.data.corpus import prepare
from enterprise_lm.data.engine import CountWords, apply, map_batches, rows_of

here = str(Path(__file__).parent.parent)
batches = [dict(text=[f'message {n} {i} 灯坏了' for i in range(50)], source=[f'a:{n}']*50) for n in range(12)]


class Fails:
    def __init__(self, error): self.error = error
    def __call__(self, batch): raise self.error


def test_processes_change_nothing():
    one = list(map_batches([CountWords()], batches))
    assert [b['text'] for b in one] == [b['text'] for b in batches]
    assert one == list(map_batches([CountWords()], batches, processes=2)) == list(map_batches([CountWords()], batches, processes=3))
    assert list(map_batches([CountWords()], [], processes=2)) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=20))
def test_a_batch_function_keeps_rows(texts):
    done = apply([CountWords()], dict(text=texts))
    assert done['text'] == texts and rows_of(done) == len(texts)


def test_an_unexpected_error_tells_no_text():
    for error in (ValueError('the secret of Ann'), KeyError('Ann')):
        with pytest.raises(WorkError) as caught: apply([Fails(error)], batches[0])
        assert 'Ann' not in str(caught.value) and 'a:0' in str(caught.value) and '\n' not in str(caught.value)
    with pytest.raises(UserError, match='mend it'): apply([Fails(UserError('mend it'))], batches[0])


def test_an_error_in_a_worker_is_the_same_error():
    bad = batches[:3] + [dict(text=[3], source=['mail.csv:9'])]
    for processes in (1, 2):
        with pytest.raises(WorkError, match='CountWords failed with TypeError, in the batch that begins at mail.csv:9'): list(map_batches([CountWords()], bad, processes=processes))


def test_what_cannot_be_sent_is_refused():
    with pytest.raises(UserError, match='processes=1'): list(map_batches([lambda b: b], batches, processes=2))


def test_an_error_of_the_reader_ends_the_workers():
    def broken():
        yield batches[0]
        raise UserError('mail.csv, line 7: mend it')
    with pytest.raises(UserError, match='line 7'): list(map_batches([CountWords()], broken(), processes=2))
    assert not workers_of(os.getpid())


def test_stopping_early_ends_the_workers():
    stream = map_batches([CountWords()], batches, processes=2)
    next(stream); stream.close()
    assert not workers_of(os.getpid())


def workers_of(parent=None):
    "Process ids of batch workers, of a parent or all of this session's."
    found = []
    for folder in Path('/proc').glob('[0-9]*') if Path('/proc').is_dir() else ():
        try: line, status = (folder/'cmdline').read_bytes(), (folder/'stat').read_text()
        except OSError: continue
        if b'serve_batches' in line and (parent is None or int(status.rsplit(')', 1)[1].split()[1]) == parent): found.append(int(folder.name))
    return found


killed = """
import sys
from enterprise_lm.data.corpus import prepare
print('ready', flush=True)
prepare(sys.argv[1], root=sys.argv[2], preparation=dict(name='washed', cleaning='safe', rules='short', exact_duplicates=True), processes=2, cache=True)
"""


def test_a_worker_that_dies_is_one_sentence(tmp_path):
    def stream():
        for n, batch in enumerate(batches * 5):
            if n == 8: os.kill(workers_of(os.getpid())[0], signal.SIGKILL)
            yield batch
    with pytest.raises(WorkError, match='killed by signal 9.*processes=1'): list(map_batches([CountWords()], stream(), processes=2))
    assert not workers_of(os.getpid())


@pytest.mark.skipif(not Path('/proc').is_dir(), reason='looks for processes in /proc')
def test_killed_half_way_and_started_again(tmp_path):
    data, home = tmp_path/'data', tmp_path/'home'
    data.mkdir()
    for f in range(6): (data/f'{f}.jsonl').write_text(''.join(f'{{"text": "file {f}: message {i} says the lamp number {i * 7 + f} is dark again, 灯坏了 {i}"}}\n' for i in range(1500)))
    environment = dict(os.environ, PYTHONPATH=here, ELM_WORKSPACE__HOME=str(home))
    run = lambda **more: subprocess.Popen([sys.executable, '-c', killed, data, tmp_path/'root'], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, **more)
    process = run()
    deadline = time.time() + 60
    workers = []
    while time.time() < deadline and not (workers and list((home/'cache'/'prepare').glob('*.json'))): time.sleep(.01); workers = workers_of(process.pid)
    process.kill(); process.wait()
    assert workers and not list((tmp_path/'root'/'corpus').glob('[!.]*'))
    deadline = time.time() + 10
    while time.time() < deadline and set(workers) & set(workers_of()): time.sleep(.05)
    assert not set(workers) & set(workers_of())
    again = run()
    out, problems = again.communicate(timeout=120)
    assert again.returncode == 0, problems
    made, = (tmp_path/'root'/'corpus').glob('[!.]*')
    assert not list((tmp_path/'root'/'corpus').glob('.draft*'))
    assert made.name.endswith(prepare(data, root=tmp_path/'fresh', preparation=dict(name='washed', cleaning='safe', rules='short', exact_duplicates=True), processes=1).short)


@pytest.mark.slow
def test_ray_gives_the_same_digest(tmp_path):
    pytest.importorskip('ray')
    (tmp_path/'a.jsonl').write_text(''.join(f'{{"text": "message {i} about the lamp, 灯坏了 {i}", "label": "{i % 3}"}}\n' for i in range(5000)))
    ray, local = (prepare(tmp_path/'a.jsonl', root=tmp_path/e, preparation=dict(cleaning='safe', exact_duplicates=True), processes=2, engine=e) for e in ('ray', 'local'))
    assert ray.digest == local.digest and not ray.verify()


def test_without_ray_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(UserError, match=r"pip install 'enterprise_lm\[ray\]'"): list(map_batches([CountWords()], batches, engine='ray'))
