"""The main job from a user's chair: `elm` in an empty folder, by its public commands alone."""
import csv, json, os, re, shlex, shutil, signal, subprocess, urllib.request
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

root = Path(__file__).resolve().parents[1]


def test_demo_answers_everything_it_promises(demo):
    folder, answer = demo
    assert answer['state'] == 'done' and answer['errors'] == {}
    assert [s['state'] for s in answer['steps']] == ['done'] * len(answer['steps'])
    assert all(Path(s['notebook']).is_file() for s in answer['steps'])
    assert len(answer['candidates']) >= 3 and answer['chosen'] in [c['name'] for c in answer['candidates']]
    by_name = {c['name']: c['metrics']['accuracy'] for c in answer['candidates']}
    assert by_name[answer['chosen']] > by_name['majority'] + .3
    assert answer['released'] == dict(name='intent', version=answer['released']['version'])
    assert all(c['passed'] for c in answer['gate'])
    page = Path(answer['report']).read_text(encoding='utf-8')
    assert '<html' in page and not re.search(r'(src|href)=["\']?(https?:)?//', page)


def test_second_run_is_cached(demo, run_elm):
    folder, first = demo
    again = run_elm('demo', '--json', folder=folder).answer
    assert {s['state'] for s in again['steps']} == {'cached'}
    assert again['candidates'] == first['candidates'] and again['released'] == first['released']


def test_every_command_that_prints_answers_with_one_object(demo, run_elm, tmp_path):
    folder, answer = demo
    assert run_elm('verify', '--json', folder=folder).answer['ok']
    listed = run_elm('ls', '--json', folder=folder).answer
    assert {a['kind'] for a in listed['artifacts']} >= {'corpus', 'model', 'report', 'release'}
    model = next(v for v in listed['models'] if 'champion' in v['aliases'])
    assert run_elm('show', model['digest'], '--json', folder=folder).answer['kind'] == 'model'
    assert run_elm('show', answer['run'], '--json', folder=folder).answer['run'] == answer['run']
    assert any(n['kind'] == 'corpus' for n in run_elm('lineage', model['digest'], '--json', folder=folder).answer['nodes'])
    assert any(r['key'] == 'port' for r in run_elm('settings', '--json', folder=folder).answer['settings'])
    drawn = run_elm('graph', 'intent', '--svg', tmp_path/'intent.svg', '--json', folder=folder).answer
    assert 'prepare' in drawn['mermaid'] and '<svg' in (tmp_path/'intent.svg').read_text(encoding='utf-8')


def test_verify_names_a_changed_byte(demo, run_elm, tmp_path):
    folder, answer = demo
    copy = tmp_path/'copy'
    shutil.copytree(folder, copy)
    run = copy/'workspace/runs'/answer['run']
    victim = max(run.glob('*.ipynb'), key=lambda p: p.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content)//2] ^= 1
    victim.write_bytes(content)
    failed = run_elm('verify', run, '--json', folder=copy, code=1).answer
    assert any(victim.name in p for p in failed['problems'])


def test_predict_keeps_every_row_in_order(demo, run_elm, tmp_path):
    folder, _ = demo
    questions = tmp_path/'questions.csv'
    questions.write_text('id,text\na,where is my parcel?\nb,\nc,台灯的电池很快就没电了\n', encoding='utf-8')
    done = run_elm('predict', '--model', 'intent', questions, '--output', tmp_path/'answers.csv', '--json', folder=folder).answer
    assert (done['rows'], done['rejected']) == (2, 1) and Path(done['output']) == tmp_path/'answers.csv'
    rows = list(csv.DictReader(open(done['output'], encoding='utf-8')))
    assert [r['id'] for r in rows] == ['a', 'c'] and all(0 < float(r['confidence']) <= 1 and r['label'] for r in rows)
    reasons = [json.loads(line) for line in open(f'{done["output"]}.rejected.jsonl', encoding='utf-8')]
    assert len(reasons) == 1 and reasons[0]['reason']


def test_serve_tells_its_address_and_answers(demo, tmp_path):
    folder, _ = demo
    server = subprocess.Popen(['elm', 'serve', '--port', '0', '--json'], cwd=folder, stdout=subprocess.PIPE, stderr=open(tmp_path/'log', 'w'), text=True)
    try:
        address = json.loads(server.stdout.readline())['address']
        assert (tmp_path/'log').read_text() == ''  # it does not log that it asks itself
        body = json.dumps({'model': 'intent', 'texts': ['where is my parcel?', '我要退货']}).encode()
        request = urllib.request.Request(f'{address}/v1/classify', body, {'Content-Type': 'application/json'})
        answer = json.load(urllib.request.urlopen(request, timeout=60))
        assert len(answer['answers']) == 2 and all(0 < a['confidence'] <= 1 and a['label'] for a in answer['answers'])
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0


@pytest.mark.parametrize('call, says', [
    (['run', 'intnet'], 'did you mean `intent`'),
    (['run', 'intent', '-p', 'dat=x.csv'], 'did you mean `data`'),
    (['run', 'intent', '-p', 'data=nowhere.csv'], 'no file or folder'),
    (['run', 'intent', '-p', 'seed=many'], 'seed must be an int'),
    (['run', 'intent', '--from', 'evalute'], 'did you mean `evaluate`'),
    (['verify', 'nothing-like-this'], '`elm ls` lists'),
    (['show', 'zzzz'], '`elm ls` lists'),
    (['predict', '--model', 'intnt', root/'enterprise_lm/data/samples/support/golden.jsonl', '--output', 'x.csv'], 'intent'),
    (['predict', '--model', 'intent', 'missing.csv', '--output', 'x.csv'], 'missing.csv'),
    (['predict', '--model', 'intent@99', root/'enterprise_lm/data/samples/support/golden.jsonl', '--output', 'x.csv'], 'unknown version or alias `99`'),
    (['rollback', 'intnt'], 'intent'),
])
def test_a_wrong_call_is_one_sentence_and_exit_code_2(demo, run_elm, call, says):
    folder, _ = demo
    failed = run_elm(*call, '--json', folder=folder, code=2)
    assert says in failed.answer['error'] and 'Traceback' not in failed.stderr
    assert '\n' not in failed.answer['error']


def test_init_lays_down_a_workspace_and_overwrites_nothing(run_elm, tmp_path):
    made = run_elm('init', 'mine', '--json', folder=tmp_path).answer
    assert (tmp_path/'mine/settings.ini').is_file() and (tmp_path/'mine/pipelines/intent.yaml').is_file()
    (tmp_path/'mine/settings.ini').write_text('[serving]\nport = 9999\n', encoding='utf-8')
    again = run_elm('init', 'mine', '--json', folder=tmp_path).answer
    assert again['made'] == [] and len(again['kept']) == len(made['made'])
    rows = run_elm('settings', '--json', folder=tmp_path/'mine').answer['settings']
    assert next(r for r in rows if r['key'] == 'port' and r['section'] == 'serving') == dict(section='serving', key='port', value=9999, source='settings.ini')


def test_readme_shows_only_what_works(demo, run_elm, tmp_path):
    "Every `elm` line of the README is a command with options that exist; those of the first ten minutes run here."
    text = (root/'README.md').read_text(encoding='utf-8')
    lines = [line.split('#')[0].strip() for block in re.findall(r'```sh\n(.*?)```', text, re.S) for line in block.splitlines()]
    calls = [shlex.split(line.split('&&')[0]) for line in lines if line.startswith('elm ')]
    assert {c[1] for c in calls} >= {'demo', 'run', 'init', 'predict', 'verify', 'serve', 'app', 'rollback', 'show', 'graph'}
    for call in calls:
        help_text = subprocess.run([*call[:3 if call[1] in ('concepts', 'labels') else 2], '--help'], capture_output=True, text=True).stdout
        assert all(o.split('=')[0] in help_text for o in call[2:] if o.startswith('-')), f'{call}: an option that does not exist'
    folder, _ = demo
    first = next(block for block in re.findall(r'```sh\n(.*?)```', text, re.S) if 'elm verify' in block)
    here = tmp_path/'here'
    shutil.copytree(folder, here)
    script = '\n'.join(line for line in first.splitlines() if 'rollback' not in line)
    done = subprocess.run(['bash', '-euc', script], cwd=here, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (here/'answers.csv').is_file() and 'every byte is as it was sealed' in done.stdout


@pytest.mark.parametrize('call', [['redact', '--json'], ['verify', '--nosuch', '--json'], ['dedupe', 'a.csv', '--output', 'b.csv', '--threshold', 'abc', '--json']])
def test_a_usage_error_is_one_object_too(run_elm, tmp_path, call):
    failed = run_elm(*call, folder=tmp_path, code=2)
    assert set(failed.answer) == {'error', 'exit_code'} and failed.stderr.count('\n') == 1 and '--help` shows' in failed.answer['error']


def shell(folder, line, **more):
    return subprocess.run(['bash', '-c', line], cwd=folder, capture_output=True, text=True, timeout=120, env=os.environ | more)


@pytest.mark.parametrize('call', ['elm --help', 'elm ls', 'elm ls --json', 'elm settings'])
def test_a_full_or_closed_standard_output_is_one_sentence(tmp_path, call):
    for where in ('>/dev/full', '>&-'):
        done = shell(tmp_path, f'{call} {where}')
        assert done.returncode == 1 and done.stderr.startswith('elm: the answer cannot be written') and done.stderr.count('\n') == 1
    assert shell(tmp_path, f'{call} | head -c 1; exit ${{PIPESTATUS[0]}}').stderr == ''


def test_closed_standard_error_leaves_the_object_alone(tmp_path):
    done = shell(tmp_path, 'elm redact nowhere.csv --output x.csv --json 2>&-')
    assert done.returncode == 2 and 'nowhere.csv' in json.loads(done.stdout)['error']


def test_names_that_are_no_text_and_a_locale_without_letters(tmp_path):
    done = shell(tmp_path, "elm convert $'bad\\xff.csv' out.jsonl --json")
    assert done.returncode == 2 and os.fsencode('bad\udcff.csv') in os.fsencode(json.loads(done.stdout)['error'])
    (tmp_path/'票.csv').write_text('id,text\n1,我的台灯坏了\n', encoding='utf-8')
    done = shell(tmp_path, 'elm convert 票.csv 出.jsonl --json', LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')
    assert done.returncode == 0 and json.loads(done.stdout)['output'] == '出.jsonl' and (tmp_path/'出.jsonl').is_file()


@pytest.mark.parametrize('wait', [.1, .25, 3])
@pytest.mark.parametrize('number, code', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_at_any_time_is_one_sentence_and_leaves_no_draft(tmp_path, wait, number, code):
    (tmp_path/'big.csv').write_text('id,text\n' + ''.join(f'{n},"please ring 138{n:08} about the lamp of order {n}"\n' for n in range(60000)))
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)     # tests that run in the background ignore Ctrl-C, and so would elm
    process = subprocess.Popen(['elm', 'redact', 'big.csv', '--output', 'out.csv', '--json'], cwd=tmp_path, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    try: process.wait(wait)
    except subprocess.TimeoutExpired: process.send_signal(number)
    out, error = process.communicate(timeout=60)
    if process.returncode == -number: pytest.skip('the signal came before Python itself had begun')
    assert (process.returncode, json.loads(out)['exit_code']) == (code, code) and error.count('\n') == 1 and 'stopped' in error
    assert [p.name for p in tmp_path.iterdir() if p.name != 'workspace'] == ['big.csv']


def test_each_command_has_a_sentence_that_is_not_cut_and_an_example_that_parses():
    from enterprise_lm.cli import application
    from typer.main import get_command
    def leaves(command, path):
        for name, inner in getattr(command, 'commands', {}).items(): yield from leaves(inner, [*path, name])
        if not hasattr(command, 'commands'): yield path, command
    for path, command in leaves(get_command(application()), []):
        example = shlex.split((command.epilog or '').removeprefix('Example: elm '))
        assert example[:len(path)] == path, f'{path} has no example'
        assert '...' not in command.get_short_help_str(60), path
        command.make_context(path[-1], example[len(path):])


def test_help_of_run_lists_pipelines_and_parameters(tmp_path):
    assert 'language_model' in shell(tmp_path, 'elm run --help').stdout
    assert '-p preparation="as_is"' in shell(tmp_path, 'elm run intent --help').stdout
    assert re.fullmatch(r'elm \d+\.\d+\.\d+\n', shell(tmp_path, 'elm --version').stdout)


def test_names_with_versions_damage_and_a_readable_corpus(run_elm, tmp_path):
    (tmp_path/'a.csv').write_text('text,label\n' + ''.join(f'this is letter {n} about my {"lamp" if n % 2 else "parcel"} please,{"lamp" if n % 2 else "parcel"}\n' for n in range(60)))
    for seed in (1, 2): run_elm('prepare', 'a.csv', '--output', 'letters', '--seed', seed, folder=tmp_path)
    other = run_elm('prepare', 'a.csv', '--output', 'others', '--json', folder=tmp_path).answer
    rows = run_elm('ls', 'corpus', '--json', folder=tmp_path).answer['corpus']
    assert {(r['name'], r['version']) for r in rows} == {('letters', 1), ('letters', 2), ('others', 1)}
    first = run_elm('show', 'letters@1', '--json', folder=tmp_path).answer
    assert first['parameters']['seed'] == 1 and run_elm('verify', 'letters@1', '--json', folder=tmp_path).answer['ok']
    shown = run_elm('show', 'letters', folder=tmp_path).stdout
    assert all(word in shown for word in ('train 48', 'lamp 30', 'quality', 'en 60'))
    manifest = Path(other['path'])/'manifest.json'
    manifest.write_text('{')
    listed = run_elm('ls', 'artifacts', '--json', folder=tmp_path).answer
    assert len(listed['artifacts']) == 2 and str(manifest) in listed['damaged'][0]
    failed = run_elm('inspect', 'others', '--json', folder=tmp_path, code=2).answer['error']
    assert str(manifest) in failed and 'put the folder' in failed


def test_init_is_whole_or_not_at_all(tmp_path, monkeypatch):
    from enterprise_lm import workspace_commands
    def full(self, target): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(Path, 'replace', full)
    with pytest.raises(ValueError, match='No space left'): workspace_commands._lay_down(tmp_path/'mine')
    assert not [p for p in (tmp_path/'mine').rglob('*') if p.is_file()]


def test_a_database_that_is_none_is_one_sentence(run_elm, tmp_path):
    (tmp_path/'workspace').mkdir()
    (tmp_path/'workspace/workspace.db').write_bytes(b'garbage' * 500)
    said = run_elm('subject', 'ann', '--json', folder=tmp_path, code=1).answer['error']
    assert 'workspace.db cannot be used' in said and '\n' not in said
    said = run_elm('subject', 'ann', '--json', folder=tmp_path, code=1, ELM_WORKSPACE__DATABASE='postgresql+psycopg://ann:secret@127.0.0.1:1/x').answer['error']
    assert '[workspace] database' in said and 'secret' not in said


@pytest.mark.parametrize('content, says', [(b'key = secret', 'has no section above line 1'), (b'[data]\nseed = 1\nseed = 2\n', 'line 3'), (b'[data]\n\xff', 'save it as UTF-8'), (None, 'Is a directory')])
def test_a_settings_file_says_how_to_mend_it(run_elm, tmp_path, content, says):
    if content is None: (tmp_path/'settings.ini').mkdir()
    else: (tmp_path/'settings.ini').write_bytes(content)
    said = run_elm('settings', '--json', folder=tmp_path, code=2).answer['error']
    assert says in said and 'secret' not in said


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), st.sampled_from(['text=', "keep='a,b'", 'force=True', 'rejected_limit=0.5', 'nosuch=3', '-p text=x']), st.text(max_size=40))
def test_only_the_options_of_a_command_are_rewritten(before, middle, after):
    from enterprise_lm.console import as_typed
    options = dict(text=('--text', False), keep=('--keep', False), force=('--force', True), rejected_limit=('--rejected-limit', False))
    message = f'{before} {middle} {after}'
    said = as_typed(message, options)
    if not any(f'{n}=' in message for n in options): assert said == message
    if middle in ('nosuch=3', '-p text=x'): assert f' {middle}' in said
    elif not any(c in before for c in '\'"=-'): assert f' {middle}' not in said and said.startswith(f'{before} --')


def test_an_error_of_the_library_names_options(run_elm, tmp_path):
    (tmp_path/'a.csv').write_text('id,words\n1,hello there\n')
    said = run_elm('convert', 'a.csv', 'b.jsonl', '--keep', 'nosuch', '--json', folder=tmp_path, code=2).answer['error']
    assert not re.search(r'\b(text|keep|columns|format|encoding)=', said)


def test_a_folder_with_a_name_that_is_no_text_is_prepared(tmp_path):
    (tmp_path/'in').mkdir()
    line = 'this is letter {n} about my lamp or parcel please\n'
    (tmp_path/'in'/os.fsdecode(b'b\xff.txt')).write_text(''.join(line.format(n=n) for n in range(60)))
    done = shell(tmp_path, 'elm prepare in --output letters --preparation as_is --json')
    assert done.returncode == 0, done.stderr
    sources = [f['file'] for f in json.loads((Path(json.loads(done.stdout)['path'])/'corpus.json').read_text())['files']]
    assert sources == ['b\\xff.txt']
