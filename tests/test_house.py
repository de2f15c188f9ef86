"""The house keeps its own rules: modules are exported, imports go down, stored notebooks are clean, nothing is pickled."""
import ast, json, os, re, shutil, subprocess, sys
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]
floors = ['core', 'data', 'models', 'tasks', 'training', 'evaluation', 'release', 'serving', 'monitoring', 'pipelines', 'review', 'app', 'running', 'evidence', 'opinions', 'origins', 'written', 'holdings', 'remaking', 'subjects', 'console', 'data_commands', 'file_commands', 'sample_commands', 'people_commands', 'run_commands', 'workspace_commands', 'service_commands', 'cli']
notebooks = sorted(p for p in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)


def source(cell): return ''.join(cell['source'])


def rooms():
    "`{module: notebook}` of everything the notebooks export."
    found = {}
    for path in notebooks:
        for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
            named = re.search(r'^#\|\s*default_exp\s+(\S+)', source(cell), re.M) if cell['cell_type'] == 'code' else None
            if named: found['enterprise_lm.' + named[1]] = path
    return found


def modules():
    for path in sorted((root/'enterprise_lm').rglob('*.py')):
        if path.name not in ('__init__.py', '_modidx.py'): yield '.'.join(path.relative_to(root).with_suffix('').parts), path


def imports(name, path):
    "Our own modules that a module imports, absolute names."
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom):
            base = '.'.join(name.split('.')[:-node.level]) + '.' if node.level else ''
            found = [base + (node.module or '')] + [f'{base}{node.module or ""}.{a.name}'.replace('..', '.') for a in node.names]
            yield from (f for f in found if f.startswith('enterprise_lm'))
        if isinstance(node, ast.Import): yield from (a.name for a in node.names if a.name.startswith('enterprise_lm'))


def test_every_module_has_its_notebook():
    orphans = [name for name, _ in modules() if name not in rooms()]
    assert not orphans, f'modules that no notebook exports: {orphans}'


def test_imports_go_down():
    where, wrong = rooms(), []
    for name, path in modules():
        for other in imports(name, path):
            if other not in where or other == name: continue
            mine, theirs = (floors.index(n.split('.')[1]) for n in (name, other))
            if theirs > mine or (theirs == mine and where[other].name >= where[name].name): wrong.append(f'{name} imports {other}')
    assert not wrong, f'imports that go up: {wrong}'


def test_imports_share_no_cell_with_work():
    "The documentation runs every cell that imports, flagged slow or not; what stands beside an import would run with it."
    mixed = []
    for path in notebooks:
        for n, cell in enumerate(json.loads(path.read_text(encoding='utf-8'))['cells']):
            if cell['cell_type'] != 'code' or re.search(r'^#\|\s*(export|hide)', source(cell), re.M): continue
            tree = ast.parse(re.sub(r'^[!%].*', '', source(cell), flags=re.M))
            importing = any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.walk(tree))
            working = any(not isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)) for node in tree.body)
            if importing and working: mixed.append(f'{path.relative_to(root)} cell {n}')
    assert not mixed, f'imports beside work: {mixed}'


def test_export_and_clean_change_nothing(tmp_path):
    tracked = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], cwd=root, capture_output=True, check=True).stdout.decode().split('\0')
    wanted = [f for f in tracked if f.endswith(('.ipynb', '.py', '.toml', '.md')) and (root/f).is_file()]
    for f in wanted:
        (tmp_path/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root/f, tmp_path/f)
    environment = {k: v for k, v in os.environ.items() if k != 'IN_TEST'} | {'PYTHONPATH': str(tmp_path)}
    tools = Path(sys.executable).parent
    for command in (['nbdev-export'], ['nbdev-clean', '--fname', 'nbs'], ['nbdev-clean', '--fname', 'pipelines']):
        subprocess.run([str(tools/command[0]), *command[1:]], cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=200)
    subprocess.run([sys.executable, 'docs/build.py', 'readme'], cwd=tmp_path, check=True, timeout=60)
    changed = [f for f in wanted if (root/f).read_bytes() != (tmp_path/f).read_bytes()]
    made = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob('*.py') if p.relative_to(tmp_path).as_posix() not in wanted]
    assert not changed and not made, f'run `make prepare` and commit: changed {changed}, new {made}'


def test_step_notebooks_are_thin_and_keep_their_tag():
    for path in sorted((root/'pipelines').glob('*.ipynb')):
        cells = [c for c in json.loads(path.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
        assert sum('parameters' in c['metadata'].get('tags', []) for c in cells) == 1, f'{path.name} needs one cell tagged parameters'
        assert not any(re.search(r'^\s*(def|class) ', source(c), re.M) for c in cells), f'{path.name} defines something: it belongs in the library'


@pytest.mark.parametrize('word', ['pickle', 'joblib'])
def test_nothing_is_pickled(word):
    users = [name for name, path in modules() if re.search(rf'^\s*(import|from)\s.*\b{word}\b', path.read_text(encoding='utf-8'), re.M)]
    assert not users, f'{users} import {word}: weights are safetensors, everything else Arrow or text'


def test_checkpoints_are_read_as_weights_only():
    for name, path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == 'torch.load':
                assert any(k.arg == 'weights_only' and ast.unparse(k.value) == 'True' for k in node.keywords), f'{name}: torch.load without weights_only=True'


def test_no_path_of_a_machine_in_stored_outputs():
    for path in notebooks + sorted((root/'pipelines').glob('*.ipynb')):
        found = re.search(rf'(/tmp/|/home/|/root/|/Users/|{re.escape(str(root.parent))}/)[\w.-]+', path.read_text(encoding='utf-8'))
        assert not found, f'{path.relative_to(root)} stores {found[0]}'


def test_no_state_of_a_progress_bar_is_stored():
    for path in notebooks + sorted((root/'pipelines').glob('*.ipynb')):
        assert 'widgets' not in json.loads(path.read_text(encoding='utf-8'))['metadata'] and 'vnd.jupyter.widget-view' not in path.read_text(encoding='utf-8'), f'{path.relative_to(root)} stores what a bar looked like'
