"""A whole file redacted: format, columns and order stay, findings point into the original, nothing half-written is left."""
import csv, hashlib, json, signal, subprocess, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from enterprise_lm.core.errors import UserError
from enterprise_lm.core.settings import Settings
from enterprise_lm.data.actions import decrypt
from enterprise_lm.data.corpus import prepare
from enterprise_lm.data.privacy import redact
from enterprise_lm.data.redaction import redact_file
from enterprise_lm.data.subjects import key

rows = [dict(id='a', text='Ann: ann@loom.example', label='x', note='kept'), dict(id='b', text='手机１３３00000243，谢谢\n第二行', label='y', note=None), dict(id='c', text='nothing here', label='x', note='"q", ü')]


def lines(path): return [json.loads(line) for line in Path(path).read_text(encoding='utf-8').splitlines()]


def written(folder, suffix):
    path = folder/f'in.{suffix}'
    if suffix == 'jsonl': path.write_text('\n'.join(json.dumps(r, ensure_ascii=False) for r in rows), encoding='utf-8')
    if suffix == 'parquet': parquet.write_table(pa.Table.from_pylist(rows), path)
    if suffix in ('csv', 'tsv'):
        with open(path, 'w', encoding='utf-8', newline='') as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter=',' if suffix == 'csv' else '\t'); table.writeheader(); table.writerows(rows)
    return path


def read(path):
    if path.suffix == '.jsonl': return lines(path)
    if path.suffix == '.parquet': return parquet.read_table(path).to_pylist()
    with open(path, encoding='utf-8', newline='') as file: return list(csv.DictReader(file, delimiter=',' if path.suffix == '.csv' else '\t'))


@pytest.mark.parametrize('suffix', ['jsonl', 'csv', 'tsv', 'parquet'])
def test_columns_and_order_stay_and_findings_point_into_the_original(tmp_path, suffix):
    done = redact_file(written(tmp_path, suffix), tmp_path/f'out.{suffix}', tmp_path/'f.jsonl', settings=Settings(root=tmp_path), tagger=False)
    out, found = read(tmp_path/f'out.{suffix}'), lines(tmp_path/'f.jsonl')
    assert [r['text'].replace('\r\n', '\n') for r in out] == [redact(r['text']) for r in rows] and [(r['id'], r['label'], r['note'] or None) for r in out] == [(r['id'], r['label'], r['note']) for r in rows]
    originals = {r['id']: r['text'] for r in rows}
    assert done['rows'] == 3 and done['findings'] == len(found) == 2 and done['types'] == {'EMAIL': 1, 'PHONE': 1}
    for f in found:
        assert list(f) == ['id', 'start', 'end', 'type', 'text_sha256', 'score', 'rule']
        assert hashlib.sha256(originals[f['id']][f['start']:f['end']].encode()).hexdigest() == f['text_sha256']
    assert sorted(p.name for p in tmp_path.iterdir() if p.name[0] == '.') == []


def test_encrypted_text_comes_back(tmp_path):
    settings = Settings(root=tmp_path)
    redact_file(written(tmp_path, 'jsonl'), tmp_path/'out.jsonl', tmp_path/'f.jsonl', action='encrypt', settings=settings, tagger=False)
    assert [decrypt(r['text'], key(settings)) for r in lines(tmp_path/'out.jsonl')] == [r['text'] for r in rows]


def test_bad_rows_keep_their_values_and_the_reason(tmp_path):
    (tmp_path/'in.jsonl').write_text('{"id": "a", "text": "ann@loom.example"}\n{broken\n{"id": "b", "text": 7}\n{"id": "c"}\n{"id": "d", "text": null}\n', encoding='utf-8')
    done = redact_file(tmp_path/'in.jsonl', tmp_path/'out.jsonl', tmp_path/'f.jsonl', settings=Settings(root=tmp_path), tagger=False)
    rejected = lines(done['rejected_file'])
    assert done['rejected'] == 3 and [r['source'] for r in rejected] == ['in.jsonl:2', 'in.jsonl:3', 'in.jsonl:4'] and rejected[1]['values'] == {'id': 'b', 'text': 7}
    assert [r['id'] for r in lines(tmp_path/'out.jsonl')] == ['a', 'd']


@pytest.mark.parametrize('arguments, words', [
    (dict(action='hide'), 'allowed: mask'), (dict(language='fr'), 'allowed: zh, en, auto'), (dict(output='in.jsonl'), 'what is read'), (dict(findings='out.jsonl'), 'two files'),
    (dict(findings='out.jsonl.rejected.jsonl'), 'two files'), (dict(also='nobody'), 'no row has'), (dict(action='decrypt'), 'leave findings= out'),
    (dict(output='out.docx'), 'output format'), (dict(output='no/out.jsonl'), 'make it first'), (dict(text='txet'), 'no column')])
def test_a_wrong_call_is_refused_and_leaves_nothing(tmp_path, arguments, words):
    written(tmp_path, 'jsonl')
    call = dict(output='out.jsonl', findings='f.jsonl') | arguments
    with pytest.raises(UserError, match=words):
        redact_file(tmp_path/'in.jsonl', tmp_path/call.pop('output'), tmp_path/call.pop('findings'), settings=Settings(root=tmp_path), tagger=False, **call)
    assert [p.name for p in tmp_path.iterdir()] == ['in.jsonl'] and len(lines(tmp_path/'in.jsonl')) == 3


def test_files_of_one_person_agree_across_files(tmp_path):
    settings, found = Settings(root=tmp_path), []
    for name, text in (('1', 'ann@loom.example'), ('2', 'write to ANN@loom.example')):
        (tmp_path/f'{name}.csv').write_text(f'id,text\n1,{text}\n', encoding='utf-8')
        redact_file(tmp_path/f'{name}.csv', tmp_path/f'{name}.out.csv', tmp_path/f'{name}.jsonl', action='pseudonymise', settings=settings, tagger=False)
        found.append(read(tmp_path/f'{name}.out.csv')[0]['text'].split()[-1])
    assert found[0] == found[1] and found[0].startswith('EMAIL-')


killed_behind = '''
import os, signal
from enterprise_lm.data import redaction
open_sources = redaction.open_sources
def dying(*given, **how):
    opened = open_sources(*given, **how)
    def some(records):
        for number, record in enumerate(records):
            if number == 7_000: os.kill(os.getpid(), signal.SIGKILL)
            yield record
    for one in opened: one.records = some(one.records)
    return opened
redaction.open_sources = dying
'''


def test_killed_and_run_again_ends_the_same(tmp_path):
    (tmp_path/'in.jsonl').write_text('\n'.join(json.dumps(dict(id=str(i), text=f'mail a{i}@loom.example, tel +32 470 00 {i % 90 + 10} 11')) for i in range(8_000)), encoding='utf-8')
    call = f"from pathlib import Path; from enterprise_lm.core.settings import Settings; from enterprise_lm.data.redaction import redact_file; redact_file('in.jsonl', 'out.jsonl', 'f.jsonl', settings=Settings(root=Path('{tmp_path}')), tagger=False)"
    assert subprocess.run([sys.executable, '-c', killed_behind + call], cwd=tmp_path, timeout=120).returncode == -signal.SIGKILL
    assert any(p.stat().st_size for p in tmp_path.glob('.out.jsonl-*/rows.jsonl'))   # in the middle of the rows
    assert not (tmp_path/'out.jsonl').exists() and not (tmp_path/'f.jsonl').exists()
    subprocess.run([sys.executable, '-c', call], cwd=tmp_path, check=True, timeout=120)
    assert len(lines(tmp_path/'out.jsonl')) == 8_000 and len(lines(tmp_path/'f.jsonl')) == 16_000 and not any(p.name.startswith('.out') for p in tmp_path.iterdir())


letter = 'From a@b.example Mon Mar  2 10:00:00 2026\nFrom: Ann <ann@loom.example>\nTo: help@shop.example\nSubject: call 13300000243\nDate: Mon, 2 Mar 2026 10:00:00 +0000\nMessage-ID: <m1@loom.example>\n\nTel 13300000243\n> ann@loom.example\n-- \nann@loom.example\n'


@pytest.mark.parametrize('ending', ['jsonl', 'csv', 'parquet', 'mbox'])
def test_nothing_of_a_mail_is_left(tmp_path, ending):
    (tmp_path/'in.mbox').write_text(letter)
    done = redact_file(tmp_path/'in.mbox', tmp_path/f'out.{ending}', settings=Settings(root=tmp_path), tagger=False, keep='text,quoted,signature,from,to,title,subject' if ending == 'mbox' else '')
    written = (tmp_path/f'out.{ending}').read_bytes()
    assert not any(secret in written for secret in (b'ann@', b'help@', b'13300000243')) and done['marked'] == {'subject': 1} and not done['left']
    found = lines(done['findings_file'])
    assert sorted(f.get('column', 'text') for f in found) == ['from', 'quoted', 'signature', 'text', 'title', 'to'] and [list(f)[7:] for f in found if f['type'] == 'PHONE'] == [[], ['column']]


def test_what_is_left_is_said_and_can_be_asked_for(tmp_path):
    (tmp_path/'in.jsonl').write_text(json.dumps(dict(id='13300000243', text='x', name=dict(of=['ann@loom.example', 8613300000243]), note='ok')))
    done = redact_file(tmp_path/'in.jsonl', tmp_path/'a.jsonl', settings=Settings(root=tmp_path), tagger=False)
    assert done['left'] == {'id': 1, 'name': 2} and done['findings'] == 0 and 'also=name' in done['warnings'][0] and '`id`' in done['warnings'][1] and '13300000243' not in str(done)
    done = redact_file(tmp_path/'in.jsonl', tmp_path/'a.jsonl', settings=Settings(root=tmp_path), tagger=False, also='all')
    assert done['left'] == {'id': 1} and lines(tmp_path/'a.jsonl') == [dict(id='13300000243', text='x', name=dict(of=['[EMAIL]', '[PHONE]']), note='ok')]
    assert [f['column'] for f in lines(done['findings_file'])] == ['name.of[0]', 'name.of[1]']
    done = redact_file(tmp_path/'in.jsonl', tmp_path/'a.jsonl', settings=Settings(root=tmp_path), tagger=False, also='id,name')
    assert done['left'] == {} and '13300000243' not in Path(done['findings_file']).read_text() + (tmp_path/'a.jsonl').read_text()


words = st.lists(st.sampled_from(list('灯ab1 [:]"\\\n') + ['13300000243', 'ann@loom.example', '[PHONE:', 'PHONE']), max_size=8).map(''.join)
nested = st.recursive(words | st.none() | st.booleans(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from('abc'), inner, max_size=2), max_leaves=5)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.fixed_dictionaries(dict(text=words, note=nested, subject=words, title=words)), min_size=1, max_size=4))
def test_what_was_encrypted_comes_back_exactly(tmp_path_factory, given_rows):
    folder = tmp_path_factory.mktemp('e')
    given_rows = [dict(id=str(n)) | row for n, row in enumerate(given_rows)]
    (folder/'in.jsonl').write_text('\n'.join(map(json.dumps, given_rows)))
    redact_file(folder/'in.jsonl', folder/'sealed.jsonl', action='encrypt', also='note', settings=Settings(root=folder), tagger=False)
    done = redact_file(folder/'sealed.jsonl', folder/'out.jsonl', action='decrypt', settings=Settings(root=folder))
    assert lines(folder/'out.jsonl') == given_rows and done['key'].endswith('privacy.key') and done['findings_file'] == ''


def test_another_key_opens_nothing_and_says_which_row(tmp_path):
    redact_file(written(tmp_path, 'jsonl'), tmp_path/'sealed.jsonl', action='encrypt', settings=Settings(root=tmp_path), tagger=False)
    elsewhere = Settings(root=tmp_path/'elsewhere')
    done = redact_file(tmp_path/'sealed.jsonl', tmp_path/'out.jsonl', action='decrypt', settings=elsewhere)
    assert done['rows'] == 1 and done['rejected'] == 2 and [r['source'] for r in lines(done['rejected_file'])] == ['sealed.jsonl:1', 'sealed.jsonl:2']


def test_folders_and_patterns_are_not_written_into(tmp_path):
    (tmp_path/'d').mkdir(); (tmp_path/'d'/'a.csv').write_text('id,text\n1,x\n')
    for source in (tmp_path/'d', str(tmp_path/'d'/'*.csv')):
        with pytest.raises(UserError, match='what is read'): redact_file(source, tmp_path/'d'/'a.csv', settings=Settings(root=tmp_path), tagger=False)
    assert (tmp_path/'d'/'a.csv').read_text() == 'id,text\n1,x\n' and len(list((tmp_path/'d').iterdir())) == 1


def test_one_line_for_each_rejected_row_of_both_stages(tmp_path):
    (tmp_path/'lc.jsonl').write_text('{"text": "a\\nb"}\n{"text": \n{"text": "fine"}\n{"text": 4}\n{"text": "\\ud800"}\n')
    done = redact_file(tmp_path/'lc.jsonl', tmp_path/'lc.txt', settings=Settings(root=tmp_path), tagger=False)
    assert done['rows'] == 1 and done['rejected'] == 4 and sorted(r['source'] for r in lines(done['rejected_file'])) == ['lc.jsonl:1', 'lc.jsonl:2', 'lc.jsonl:4', 'lc.jsonl:5']
    (tmp_path/'bad.jsonl').write_text('{"text": 4}\n')
    with pytest.raises(UserError, match='bad.jsonl:1: `text` is a int'): redact_file(tmp_path/'bad.jsonl', tmp_path/'b.jsonl', settings=Settings(root=tmp_path), tagger=False)


def test_a_foreign_token_does_not_keep_a_row_closed(tmp_path):
    from enterprise_lm.data.actions import encrypt
    foreign = encrypt('secret', 'PHONE', b'another key of the length')
    (tmp_path/'in.jsonl').write_text(json.dumps(dict(id='a', text=f'13300000243', note=foreign)))
    redact_file(tmp_path/'in.jsonl', tmp_path/'sealed.jsonl', action='encrypt', settings=Settings(root=tmp_path), tagger=False)
    done = redact_file(tmp_path/'sealed.jsonl', tmp_path/'out.jsonl', action='decrypt', settings=Settings(root=tmp_path))
    assert lines(tmp_path/'out.jsonl') == [dict(id='a', text='13300000243', note=foreign)] and done['rejected'] == 0 and 'does not open' in done['warnings'][0]


@pytest.mark.parametrize('also', ['', 'customer_id', 'text,customer_id', 'all'])
def test_who_redacts_more_never_gets_the_persons_in_clear(tmp_path, also):
    (tmp_path/'in.csv').write_text('customer_id,text\ncustomer-17,my lamp is dark\nJohn Carter,hello\n', encoding='utf-8')
    redact_file(tmp_path/'in.csv', tmp_path/'out.csv', settings=Settings(root=tmp_path), tagger=False, also=also)
    assert [r['customer_id'][:2] for r in read(tmp_path/'out.csv')] == ['s-', 's-']


@given(st.recursive(st.one_of(st.text(max_size=4), st.integers(), st.floats(), st.none(), st.booleans(), st.sampled_from(['ann@loom.example', 13812345678.0, 13812345678])),
                    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(max_size=3), st.sampled_from(['ann@loom.example', 'bo@loom.example', '13812345678', '[EMAIL]', '[EMAIL] 2'])), inner, max_size=4)), max_leaves=8))
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_of_an_object_is_passed_over_and_nothing_of_it_is_lost(tmp_path_factory, value):
    here = tmp_path_factory.mktemp('object')
    (here/'in.jsonl').write_text(json.dumps(dict(text='hi', extra=value)) + '\n')
    given, = lines(here/'in.jsonl')
    how = dict(settings=Settings(root=here), tagger=False)
    seen, masked = redact_file(here/'in.jsonl', here/'seen.jsonl', **how), redact_file(here/'in.jsonl', here/'out.jsonl', also='all', **how)
    out, written_down = (here/'out.jsonl').read_text(), (here/'out.jsonl.findings.jsonl').read_text()
    for secret in ('ann@loom.example', '13812345678'):
        if secret in json.dumps(given): assert secret not in out and secret not in written_down and seen['left']['extra'] and seen['warnings']
    assert masked['left'] == {}
    def size(v): return 1 + sum(map(size, v.values() if isinstance(v, dict) else v)) if isinstance(v, dict | list) else 1
    assert size(lines(here/'out.jsonl')[0]['extra']) == size(given['extra'])
    redact_file(here/'in.jsonl', here/'sealed.jsonl', also='all', action='encrypt', **how)
    redact_file(here/'sealed.jsonl', here/'back.jsonl', action='decrypt', **how)
    numbers = lambda v: json.loads(json.dumps(v, default=str), parse_int=lambda n: n if abs(int(n)) >= 10**6 else int(n), parse_float=lambda n: str(int(float(n))) if float(n).is_integer() and abs(float(n)) >= 10**6 else n)
    assert str(numbers(lines(here/'back.jsonl')[0])) == str(numbers(given))


def test_the_source_of_a_corpus_is_no_person(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'a.csv').write_text('id,text\n' + ''.join(f'{n},my lamp number {n} went dark on the way\n' for n in range(20)))
    corpus = prepare('a.csv', name='lamps')
    done = redact_file(str(corpus.path), tmp_path/'out.csv')
    assert 'source' not in done['left'] and not any('source' in warning for warning in done['warnings'])
    (tmp_path/'b.jsonl').write_text(json.dumps(dict(text='hi', source='ann@loom.example')) + '\n')
    assert redact_file('b.jsonl', tmp_path/'b.csv', tagger=False)['left'] == dict(source=1)
