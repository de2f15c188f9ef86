"""`pip install` of the wheel alone, in an environment that has nothing, gives an `elm` that works in an empty folder."""
import json, os, subprocess, sys, venv
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]


def run(command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=900, **options)
    assert done.returncode == 0, f'{command} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}'
    return done.stdout


@pytest.mark.timeout(1200)
def test_wheel_in_a_clean_environment(tmp_path):
    source = tmp_path/'source'
    run(['git', 'clone', '-q', root, source]) if (root/'.git').exists() else None
    run([sys.executable, '-m', 'build', '--wheel', '--outdir', tmp_path/'dist', source])
    wheel = next((tmp_path/'dist').glob('*.whl'))
    venv.create(tmp_path/'env', with_pip=True)
    python = tmp_path/'env/bin/python'
    run([python, '-m', 'pip', 'install', '-q', '--no-compile', 'torch==2.13.0'])
    run([python, '-m', 'pip', 'install', '-q', '--no-compile', wheel])
    empty = tmp_path/'empty'
    empty.mkdir()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(('PYTHON', 'ELM_', 'VIRTUAL'))} | {'HOME': str(tmp_path)}
    result = json.loads(run([tmp_path/'env/bin/elm', 'demo', '--json'], cwd=empty, env=clean))
    assert result['state'] == 'done' and result['released']['version']
    assert all(set(c['metrics']) >= {'accuracy', 'f1_macro'} for c in result['candidates'])
    assert Path(result['report']).is_file()
    module = run([python, '-c', 'import enterprise_lm; print(enterprise_lm.__file__)'], cwd=empty, env=clean)
    assert str(tmp_path/'env') in module
