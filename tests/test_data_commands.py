"""The README's commands for data, run as they stand there, and what they promise about files and people."""
import json, re, shlex
from pathlib import Path

import pytest

root = Path(__file__).resolve().parents[1]
mail = ('From ann@loom.example Mon Nov  2 10:00:00 2026\nFrom: Ann <ann@loom.example>\nDate: Mon, 2 Nov 2026 10:00:00 +0000\nSubject: lamp\n'
        'Message-ID: <{n}@loom.example>\n\nMy lamp number {n} is dark since {n} days, and I would like to know what to do about it.\n\n')


@pytest.fixture(scope='module')
def workspace(tmp_path_factory):
    "A folder with what the README's commands read."
    folder = tmp_path_factory.mktemp('readme')
    (folder/'mail').mkdir()
    (folder/'mail'/'inbox.mbox').write_text(''.join(mail.format(n=n) for n in range(2, 6)))
    (folder/'letters.csv').write_text('id,text,label\n' + ''.join(f'{n},"my lamp is dark, write to customer{n}@loom.example please, or ring 13300000{n:03}",device\n' for n in range(100, 140)))
    return folder


def test_every_data_command_of_the_readme(workspace, run_elm):
    readme = (root/'README.md').read_text(encoding='utf-8')
    block = next(b for b in re.findall(r'```sh\n(.*?)```', readme, re.S) if 'elm prepare' in b)
    lines = [shlex.split(line, comments=True) for line in block.splitlines() if line.startswith('elm ')]
    assert len(lines) == 9
    answers = {}
    for words in lines:
        arguments = [a.replace('tickets@3f2a', f"tickets@{answers['prepare']['digest'][:8]}" if 'prepare' in answers else a) for a in words[1:]]
        if arguments[0] == 'prepare': arguments = [str(p) if '*' in a else a for a in arguments for p in (sorted(workspace.glob(a)) if '*' in a else [a])]
        answers[arguments[0]] = run_elm(*arguments, '--json', folder=workspace).answer
    assert answers['prepare']['rows']['train'] > 200 and any(f['stage'] == 'intake' for f in answers['prepare']['funnel'])
    assert answers['diff']['same'] and answers['redact']['types']['EMAIL'] == 40 and answers['dedupe']['rows'] == 40
    assert answers['augment']['added'] > 0 and answers['concepts']['concepts'] > 20
    assert {h['kind'] for h in answers['subject']['holdings']} == {'corpus', 'concepts'}  # the concepts quote its texts
    findings = [json.loads(line) for line in open(workspace/'masked.csv.findings.jsonl')]
    assert set(findings[0]) == {'id', 'start', 'end', 'type', 'text_sha256', 'score', 'rule'}
    clusters = [json.loads(line) for line in open(workspace/answers['dedupe']['clusters_file'])]
    assert clusters and set(clusters[0]) == {'kept', 'dropped', 'similarity'}


@pytest.mark.parametrize('arguments, says', [
    (['prepare', 'nowhere.csv', '--output', 'x'], 'nowhere.csv'), (['prepare', 'letters.csv', '--output', 'x', '--preparation', 'standrd'], 'standard'),
    (['inspect', 'tikets'], 'unknown corpus'), (['redact', 'letters.csv', '--output', 'letters.csv'], 'letters.csv'),
    (['redact', 'letters.csv', '--output', 'y.csv', '--action', 'mangle'], 'mask'), (['dedupe', 'letters.csv', '--output', 'y.csv', '--threshold', '7'], '7'),
    (['convert', 'letters.csv', 'y.docx'], 'docx'), (['augment', 'sample://support', '--output', 'y.doc'], 'y.doc'), (['concepts', 'query', 'nothing', 'lamp'], 'nothing'),
    (['subject', ' '], 'no person')])
def test_a_wrong_call_is_one_sentence(workspace, run_elm, arguments, says):
    done = run_elm(*arguments, folder=workspace, code=2)
    assert done.stderr.startswith('elm: ') and says in done.stderr and 'Traceback' not in done.stderr


def test_a_binary_file_called_csv_leaves_nothing_behind(workspace, run_elm):
    (workspace/'binary.csv').write_bytes(bytes(range(256)) * 40)
    done = run_elm('prepare', 'binary.csv', '--output', 'binary', folder=workspace, code=2)
    assert 'binary.csv is a binary file' in done.stderr
    assert not [p for p in (workspace/'workspace').rglob('*') if 'binary' in p.name or p.name.startswith('.draft')]


def test_pseudonyms_stay_the_same_and_encryption_can_be_undone(workspace, run_elm, monkeypatch):
    for name in ('one', 'two'): run_elm('redact', 'letters.csv', '--output', f'{name}.jsonl', '--action', 'pseudonymise', '--json', folder=workspace)
    assert (workspace/'one.jsonl').read_text() == (workspace/'two.jsonl').read_text()
    run_elm('redact', 'letters.csv', '--output', 'sealed.jsonl', '--action', 'encrypt', '--json', folder=workspace)
    monkeypatch.chdir(workspace)
    from enterprise_lm.data.actions import decrypt
    from enterprise_lm.data.subjects import key
    sealed = [json.loads(line)['text'] for line in open('sealed.jsonl')]
    assert 'loom.example' not in sealed[0] and 'customer100@loom.example' in decrypt(sealed[0], key())
