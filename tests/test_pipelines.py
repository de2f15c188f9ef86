"""What a pipeline promises across processes: killed anywhere it ends with the same digests, nothing hangs, nothing leaks."""
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path

import pytest
import enterprise_lm
from enterprise_lm.pipelines.parameters import read_notebook, write_step
from enterprise_lm.pipelines.seal import verify

START = '''import os, time
from enterprise_lm.core.artifact import draft, load
from enterprise_lm.pipelines.parameters import Literal, Path, Secret, hand_on'''

# Without a main guard on purpose: a step must not run its caller's script again.
DRIVER = '''import json, sys, time
from pathlib import Path
from enterprise_lm.core.errors import UserError
from enterprise_lm.pipelines.runner import run_pipeline
call = json.loads(sys.argv[1])
state = Path('registry.txt')
try: run = run_pipeline(show=False, states={'registry': lambda: state.read_text() if state.exists() else ''}, **call)
except UserError as error: print(json.dumps(dict(refused=str(error)))); sys.exit(2)
heavy = [m for m in ('torch', 'IPython', 'papermill', 'rich', 'pandas', 'numpy') if m in sys.modules]
print(json.dumps(run.to_dict() | dict(heavy=heavy, seal=run.seal)))
'''


@pytest.fixture(scope='session')
def library(tmp_path_factory):
    "A copy of the package, so that an edit during the tests does not change cache keys."
    copy = tmp_path_factory.mktemp('library')
    shutil.copytree(Path(enterprise_lm.__file__).parent, copy/'enterprise_lm', ignore=lambda d, names: [n for n in names if n in ('samples', '__pycache__', 'notebooks')])
    return copy


class Workspace:
    "A folder with pipelines, run by fresh processes."
    def __init__(self, root, library):
        self.root, self.library = root, library
        (root/'settings.ini').write_text('[pipelines]\njobs = 2\n')
        (root/'driver.py').write_text(DRIVER)
        (root/'text.txt').write_text('a rose is a rose\n')

    def pipeline(self, name, text, **notebooks):
        for notebook, cells in notebooks.items(): write_step(self.root/'pipelines'/f'{notebook}.ipynb', f'{START}\n{cells[0]}', *cells[1:])
        (self.root/'pipelines'/f'{name}.yaml').write_text(f'preload: []\n{text}')

    def start(self, name, **call):
        environment = dict(os.environ, PYTHONPATH=str(self.library), OMP_NUM_THREADS='1')
        return subprocess.Popen([sys.executable, 'driver.py', json.dumps(dict(pipeline=name) | call)], cwd=self.root, env=environment,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self, process):
        out, err = process.communicate(timeout=100)
        assert out, err
        return json.loads(out)

    def run(self, name, **call): return self.end(self.start(name, **call))


def states(run): return {s['name']: s['state'] for s in run['steps']}
def digests(run): return {f"{s['name']}.{n}": o['digest'] for s in run['steps'] for n, o in s['outputs'].items()}


def alive(pid):
    try: return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError): return False


def gone(pids, seconds=5.):
    until = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < until: time.sleep(.05)
    return not any(map(alive, pids))


@pytest.fixture
def workspace(tmp_path, library):
    "Four steps, two of them side by side; each notes its process and that it ran."
    made = Workspace(tmp_path, library)
    note = "open('pids', 'a').write(f'{os.getpid()}\\n'); open('ran', 'a').write(f'{name}\\n')"
    text = "source = open(data).read()"
    work = '''with draft('part', name, parents=[load(p) for p in parents], parameters=dict(name=name)) as d:
    (d.path/'a.txt').write_text(source if not parents else ''.join(load(p).file('a.txt').read_text() for p in parents))
    time.sleep(pause)
    (d.path/'b.txt').write_text(name)'''
    made.pipeline('diamond', '''
name: diamond
parameters: {pause: 0.0, data: text.txt}
steps:
  first: {notebook: part, parameters: {name: first, data: "${data}", pause: "${pause}"}}
  left:  {notebook: part, parameters: {name: left, data: "${data}", parents: ["${first.part}"], pause: "${pause}"}}
  right: {notebook: part, parameters: {name: right, data: "${data}", parents: ["${first.part}"], pause: "${pause}"}}
  last:  {notebook: part, parameters: {name: last, data: "${data}", parents: ["${left.part}", "${right.part}"], pause: "${pause}"}}
'''.replace('notebook: part', 'notebook: part.ipynb'),
                  part=('name: str  # of the part\ndata: Path  # text\nparents: list[str] = []  # parts before it\npause: float = 0.0  # seconds', note, text, work, 'hand_on(part=d.artifact)'))
    return made


def test_cached_rerun_is_light(workspace):
    first, second = workspace.run('diamond'), workspace.run('diamond')
    assert set(states(first).values()) == {'done'} and set(states(second).values()) == {'cached'}
    assert digests(first) == digests(second) and second['heavy'] == []
    assert verify(first['folder']) == verify(second['folder']) == []
    (workspace.root/'text.txt').write_text('a rose is a lily\n')
    assert set(states(workspace.run('diamond')).values()) == {'done'}
    (workspace.root/'text.txt').write_text('a rose is a rose\n')
    assert set(states(workspace.run('diamond')).values()) == {'cached'}
    artifact = Path(first['steps'][0]['outputs']['part']['path'])
    (artifact/'a.txt').write_text('forged')
    repaired = workspace.run('diamond')
    assert repaired['state'] == 'done' and states(repaired)['first'] == 'done' and digests(repaired) == digests(first)
    assert verify(artifact) == []


def test_runner_killed_anywhere_then_the_same_digests(workspace, tmp_path_factory, library):
    call = dict(parameters=dict(pause=.2))
    for delay in (.3, .8, 1.2, 1.6, 2.1):
        process = workspace.start('diamond', **call)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        pids = {int(p) for p in (workspace.root/'pids').read_text().split()} if (workspace.root/'pids').exists() else set()
        assert gone(pids), 'a step outlived its runner'
    resumed = workspace.run('diamond', **call)
    assert resumed['state'] == 'done'
    calm = shutil.copytree(workspace.root, tmp_path_factory.mktemp('calm')/'w', ignore=shutil.ignore_patterns('workspace'))
    undisturbed = Workspace(calm, library).run('diamond', **call)
    assert digests(resumed) == digests(undisturbed)
    home = workspace.root/'workspace'
    assert not list(home.rglob('*.tmp')) and not list(home.glob('cache/*.run')) and not list(home.glob('runs/*/.progress'))
    for run in home.glob('runs/*/run.json'):
        assert json.loads(run.read_text())['state'] in ('killed', 'done') and verify(run.parent) == []


def test_step_killed_is_an_error_and_mends(workspace):
    once = "if not os.path.exists(mark): open(mark, 'w').close(); print('going down', flush=True); os.kill(os.getpid(), 9)"
    workspace.pipeline('fragile', '''
steps:
  fall:  {notebook: fall.ipynb, parameters: {mark: one}}
  after: {notebook: fall.ipynb, needs: [fall], parameters: {mark: one}}
  retry: {notebook: fall.ipynb, retries: 1, parameters: {mark: two}}
''', fall=('mark: str  # file', once))
    run = workspace.run('fragile')
    assert run['state'] == 'failed' and states(run) == dict(fall='killed', after='skipped', retry='done')
    fall = run['steps'][0]
    assert 'SIGKILL' in fall['error'] and 'cell' in fall['error'] and 'going down' in fall['details']
    assert 'SIGKILL' in json.dumps(read_notebook(fall['notebook'])) and (Path(run['folder'])/'retry.try1.ipynb').exists()
    assert verify(run['folder']) == []
    again = workspace.run('fragile')
    assert states(again) == dict(fall='done', after='done', retry='cached')


def test_time_limit_kills_everything_the_step_started(workspace):
    hang = "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\nopen('pids', 'w').write(f'{os.getpid()} {child.pid}')"
    workspace.pipeline('slow', 'steps:\n  hang: {notebook: hang.ipynb, time_limit: 4}', hang=('seed: int = 1', hang, 'print("waiting")\ntime.sleep(60)'))
    began = time.monotonic()
    run = workspace.run('slow')
    assert states(run) == dict(hang='timeout') and '4 s' in run['steps'][0]['error'] and time.monotonic() - began < 40
    assert gone([int(p) for p in (workspace.root/'pids').read_text().split()])
    assert 'waiting' in (Path(run['folder'])/'hang.log').read_text()


def test_leftover_thread_and_failure_do_not_hang(workspace):
    workspace.pipeline('threads', 'steps:\n  thread: {notebook: thread.ipynb}\n  fail: {notebook: fail.ipynb}\n  quit: {notebook: quit.ipynb}',
                       thread=('seed: int = 1', 'import threading\nthreading.Thread(target=time.sleep, args=(90,)).start()'),
                       fail=('seed: int = 1', 'rows = {}', 'rows["text"]'), quit=('seed: int = 1', 'os._exit(7)'))
    run = workspace.run('threads')
    assert states(run) == dict(thread='done', fail='failed', quit='killed')
    assert "KeyError: 'text' (cell" in run['steps'][1]['error'] and 'rows["text"]' in run['steps'][1]['details']


def test_secret_is_never_on_disk(workspace, monkeypatch):
    value = 'opensesame "&\\ 12\u00e9'
    monkeypatch.setenv('VAULT_KEY', value)
    shows = ('key: Secret | None = None', "print(os.environ.get('VAULT_KEY', 'no key'))", 'import html, json, base64\n'
             "v = os.environ.get('VAULT_KEY', '')\nprint(json.dumps(v), repr(v), html.escape(v), base64.b64encode(v.encode()).decode())",
             "from IPython.display import HTML\nHTML('<b>' + html.escape(v) + '</b>')", "os.system('echo $VAULT_KEY'); os.write(1, v.encode())")
    workspace.pipeline('vault', '''
parameters: {key: VAULT_KEY}
steps:
  has: {notebook: shows.ipynb, parameters: {key: "${key}"}}
  hasnt: {notebook: shows.ipynb}
  uses: {notebook: uses.ipynb, parameters: {key: "${key}"}}
''', shows=shows, uses=('key: Secret  # to the vault', 'raise ValueError(f"refused {key.value()}")'))
    run = workspace.run('vault')
    assert states(run) == dict(has='done', hasnt='done', uses='failed')
    assert 'ValueError: refused ***' in run['steps'][2]['error']
    printed = lambda step: json.dumps([c.get('outputs') for c in read_notebook(run['steps'][step]['notebook'])['cells']])
    assert 'no key' in printed(1) and 'no key' not in printed(0)        # a step sees only the secrets it declares
    assert 'VAULT_KEY' in next(Path(run['folder']).glob('manifests/*-has.json')).read_text()
    for path in workspace.root.rglob('*'):
        if path.is_file(): assert b'opensesame' not in path.read_bytes() and b'b3BlbnNlc2' not in path.read_bytes(), path
    monkeypatch.delenv('VAULT_KEY')
    assert 'VAULT_KEY is not set' in workspace.run('vault')['refused']
    assert 'hunter' not in workspace.run('vault', parameters=dict(key='hunter2-hunter2'))['refused']


def test_two_at_once_do_the_work_once(workspace):
    call = dict(parameters=dict(pause=.2))
    both = [workspace.start('diamond', **call) for _ in range(2)]
    one, two = [workspace.end(p) for p in both]
    assert one['state'] == two['state'] == 'done' and digests(one) == digests(two)
    assert sorted((workspace.root/'ran').read_text().split()) == ['first', 'last', 'left', 'right']


def test_verify_finds_a_flipped_byte_in_every_file(workspace):
    run = workspace.run('diamond')
    places = [Path(run['folder']), *(Path(o['path']) for s in run['steps'] for o in s['outputs'].values())]
    files = [p for place in places for p in place.rglob('*') if p.is_file()]
    assert len(files) > 18
    for path in files:
        whole = path.read_bytes()
        for at in {0, len(whole)//3, len(whole)//2, len(whole) - 1}:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1:])
            assert verify(run['folder']), (path, at)
        path.unlink()
        assert verify(run['folder']), path
        path.write_bytes(whole)
    (Path(run['folder'])/'manifests'/'extra').write_text('')
    assert verify(run['folder']) == ['manifests/extra was added']
    (Path(run['folder'])/'manifests'/'extra').unlink()
    assert verify(run['folder']) == []


def test_shared_state_decides(workspace):
    workspace.pipeline('release', 'steps:\n  release: {notebook: release.ipynb, state: [registry]}\n  serve: {notebook: serve.ipynb, needs: release, state: registry}',
                       release=('seed: int = 1', "open('registry.txt', 'w').write('v2')"), serve=('seed: int = 1', "open('registry.txt').read()"))
    assert [*states(workspace.run('release')).values()] == ['done', 'done']
    assert [*states(workspace.run('release')).values()] == ['cached', 'cached']
    (workspace.root/'registry.txt').write_text('v3')
    assert [*states(workspace.run('release')).values()] == ['done', 'cached']


def test_wrong_calls_are_refused_before_anything_starts(workspace):
    for call, said in [(dict(parameters=dict(pauze=1)), 'did you mean `pause`'), (dict(parameters=dict(pause='long')), 'pause must be a float'),
                       (dict(parameters=dict(data='none.txt')), 'no file or folder none.txt'), (dict(from_step='lefd'), 'did you mean `left`'), (dict(jobs=0), 'at least 1')]:
        assert said in workspace.run('diamond', **call)['refused']
    assert 'did you mean `diamond`' in workspace.run('diamand')['refused']
    assert not (workspace.root/'workspace'/'runs').exists() and not (workspace.root/'ran').exists()
