"""One workspace, one demo, shared by every test that needs a released model."""
import json, os, subprocess, sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile('same', derandomize=True)      # the same cases in every run; HYPOTHESIS_PROFILE=default draws new ones
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'same'))

root = Path(__file__).resolve().parents[1]
elm = str(Path(sys.executable).parent/'elm')


@pytest.fixture(scope='session')
def run_elm():
    "Call `elm` as a user would, in a folder; returns the finished process, its answer parsed where --json was given."
    def call(*arguments, folder, code=0, **environment):
        clean = {k: v for k, v in os.environ.items() if not k.startswith('ELM_')} | environment
        done = subprocess.run([elm, *map(str, arguments)], cwd=folder, env=clean, capture_output=True, text=True, timeout=600)
        assert done.returncode == code, f'elm {arguments} ended with {done.returncode}, not {code}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}'
        done.answer = json.loads(done.stdout) if '--json' in arguments else None
        return done
    return call


@pytest.fixture(scope='session')
def demo(run_elm, tmp_path_factory):
    "A folder in which `elm demo` has run, and its answer."
    folder = tmp_path_factory.mktemp('demo')
    answer = run_elm('demo', '--json', folder=folder).answer
    return folder, answer
