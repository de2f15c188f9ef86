"""What conversion promises: text, label and id come back from every format, and an output is complete or not there."""
import json, os, subprocess, sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from enterprise_lm.core.errors import UserError, WorkError
from enterprise_lm.core.text import is_blank
from enterprise_lm.data import convert as room
from enterprise_lm.data.convert import convert, targets
from enterprise_lm.data.sources import open_sources

root = Path(__file__).resolve().parents[1]
odd = st.text(alphabet=st.one_of(st.characters(blacklist_categories=['Cs']), st.sampled_from('"\',;|\t\n\r\\>#-=?<:\ufeff\u2028\x85\x0b\x1c 灯Fro')), min_size=1, max_size=30)
rows = st.lists(st.fixed_dictionaries(dict(text=odd), optional=dict(label=odd, id=odd)), min_size=1, max_size=6)


def read(path): return [r.values for o in open_sources(path) for r in o.records if not r.reason]


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows, st.sampled_from(targets))
def test_text_label_and_id_come_back(tmp_path_factory, data, format):
    folder = tmp_path_factory.mktemp('round')
    output, keep = folder/('out' if format in ('md', 'eml') else f'out.{format}'), 'text' if format == 'txt' else ''
    try: done = convert(data, output, to=format, keep=keep)
    except UserError as error: assert '\n' not in str(error) and not output.exists(); return
    held = [r for r in data if not any('\0' in v for k, v in r.items() if not keep or k == keep)]  # what is not kept cannot harm
    if format in ('txt', 'md', 'mbox', 'eml'): held = [r for r in held if not is_blank(r['text']) and not (format == 'txt' and set('\r\n') & set(r['text'])) and not (format == 'md' and '\r' in r['text'])]
    held = [r for r in held if not all(is_blank(v) for v in r.values())]
    assert done['rows'] == len(held) and done['rows'] + done['rejected'] + done['blank'] == len(data), f'{format} {ascii(data)} {done["rows"]}'
    for name in ['text'] if format == 'txt' else ['text', 'label', 'id']:
        found = [r.get(name) or '' for r in read(output)]
        if format == 'md' and name == 'id': found = [f if 'id' in r else '' for f, r in zip(found, held)]  # a document without an id has its file's name
        assert found == [r.get(name) or '' for r in held], name
    if done['rejected']: assert len(Path(done['rejected_file']).read_bytes().splitlines()) == done['rejected']


def test_every_format_into_every_other(tmp_path):
    data = [dict(id=f'{i}', text=t, label=l) for i, (t, l) in enumerate([('a "quoted", text', 'x'), ('> no quote\n-- \nno signature', 'y'), ('灯坏了\t了', '灯'), ('From here\n\nFrom there', 'x'), ('# head\n---\n', 'z')])]
    first = tmp_path/'0.jsonl'; convert(data, first)
    for step, format in enumerate(('csv', 'mbox', 'tsv', 'json', 'parquet', 'md', 'jsonl', 'eml', 'mbox', 'md', 'csv'), 1):
        new = tmp_path/(f'{step}' if format in ('md', 'eml') else f'{step}.{format}')
        convert(first, new, to=format); first = new
        assert [{k: v for k, v in r.items() if v} for r in read(new)] == data, format


def test_types_stay_where_they_can(tmp_path):
    data = [dict(text='a', n=1, x=.5, yes=True, list=[1], mixed=1), dict(text='b', n=None, mixed='1')]
    convert(data, tmp_path/'a.parquet'); convert(data, tmp_path/'a.csv')
    assert read(tmp_path/'a.parquet')[0] == dict(text='a', n=1, x=.5, yes=True, list='[1]', mixed='1')
    assert read(tmp_path/'a.csv')[0] == dict(text='a', n='1', x='0.5', yes='true', list='[1]', mixed='1')


def test_the_input_is_not_overwritten(tmp_path):
    (tmp_path/'a.csv').write_text('text\nx\n'); os.link(tmp_path/'a.csv', tmp_path/'b.csv'); (tmp_path/'c.csv').symlink_to('a.csv')
    for source in (tmp_path/'a.csv', tmp_path, str(tmp_path/'*.csv'), [tmp_path/'a.csv']):
        for output in ('a.csv', 'b.csv', 'c.csv'):
            with pytest.raises(UserError, match='is what is read'): convert(source, tmp_path/output)
    assert (tmp_path/'a.csv').read_text() == 'text\nx\n'


def test_rejected_rows_are_kept(tmp_path):
    (tmp_path/'a.csv').write_text('text,label\none,a\ntwo\nthree,c,d\n\nnul \0 here and many more words, so that nobody takes the file for a picture,b\n')
    done = convert(tmp_path/'a.csv', tmp_path/'a.jsonl')
    bad = [json.loads(l) for l in Path(done['rejected_file']).read_text().splitlines()]
    assert (done['rows'], done['rejected'], done['blank']) == (1, 3, 1) and [b['source'] for b in bad] == ['a.csv:3', 'a.csv:4', 'a.csv:6'] and all(b['reason'] and b['values'] for b in bad)
    (tmp_path/'a.csv').write_text('text,label\none,a\n')
    assert convert(tmp_path/'a.csv', tmp_path/'a.jsonl')['rejected_file'] == '' and sorted(p.name for p in tmp_path.iterdir()) == ['a.csv', 'a.jsonl']


def test_what_cannot_be_is_said(tmp_path):
    data = [dict(text='a', licence='MIT'), dict(text='b')]
    for output, more in {'x.docx': {}, 'x': {}, 'none/x.csv': {}, 'x.txt': {}, 'x.mbox': {}, 'x.md': {}, 'y.csv': dict(keep='nothing'), 'z.mbox': dict(text='titel')}.items():
        with pytest.raises(UserError) as error: convert(data, tmp_path/output, **more)
        assert '\n' not in str(error.value)
    for bad in ([{'': 'a'}], [{' a': 'b'}], [{'a\nb': 'c'}]):
        with pytest.raises(UserError, match='no place for a column'): convert(bad, tmp_path/'x.csv')
    with pytest.raises(UserError, match='no row'): convert([dict(text=' ')], tmp_path/'x.csv')
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path/'out.csv').write_text('old')
    def full(*args): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(room, 'write_rows', full)
    with pytest.raises(WorkError, match='No space left'): convert([dict(text='a')], tmp_path/'out.csv')
    assert [p.name for p in tmp_path.iterdir()] == ['out.csv'] and (tmp_path/'out.csv').read_text() == 'old'


def test_killed_and_started_again(tmp_path):
    code = "import sys, time\nfrom enterprise_lm.data.convert import convert\ndef rows():\n    for i in range(10):\n        yield dict(text=str(i))\n        if i == 5: print('half', flush=True); time.sleep(60)\nconvert(rows(), sys.argv[1])"
    child = subprocess.Popen([sys.executable, '-c', code, tmp_path/'out.csv'], stdout=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=str(root)))
    child.stdout.readline(); child.kill(); child.wait(); child.stdout.close()
    assert not (tmp_path/'out.csv').exists() and any(tmp_path.iterdir())
    convert([dict(text='a')], tmp_path/'out.csv')
    assert [p.name for p in tmp_path.iterdir()] == ['out.csv']


def test_what_is_beside_the_output_is_safe_too(tmp_path):
    (tmp_path/'o.jsonl.rejected.jsonl').write_text('{"id": "1", "text": "hello"}\n')
    for source in ('o.jsonl.rejected.jsonl', 'sample://help'):
        with pytest.raises(UserError, match='what is read|no list of such rows'): convert(tmp_path/source if ':' not in source else source, tmp_path/'o.jsonl')
    assert [p.name for p in tmp_path.iterdir()] == ['o.jsonl.rejected.jsonl']


def test_rejected_rows_bear_their_file_and_row_at_every_stage(tmp_path):
    (tmp_path/'two.jsonl').write_text('{"text": "half \\ud800"}\n{"text": \n\n{"text": "three"}\n{"text": "a\\nb"}\n')
    done = convert(tmp_path/'two.jsonl', tmp_path/'two.txt')
    assert done['rejected'] == 3 and [json.loads(l)['source'] for l in open(done['rejected_file'])] == ['two.jsonl:1', 'two.jsonl:2', 'two.jsonl:5']


def test_repeated_ids_and_skipped_files_are_told(tmp_path):
    (tmp_path/'in').mkdir(); (tmp_path/'in'/'t.db').write_bytes(b'SQLite'); (tmp_path/'in'/'a.csv').write_text('id,text\nx,one\ny,two\nx,three\n')
    done = convert(tmp_path/'in', tmp_path/'a.jsonl')
    assert done['rows'] == 3 and done['repeated_ids'] == [dict(id='x', places=['a.csv:2', 'a.csv:4'])] and len(done['warnings']) == 2 and 't.db' in done['warnings'][0] and 'a.csv:4' in done['warnings'][1]


def test_a_number_that_is_none_is_written_as_text(tmp_path):
    convert([dict(text='a', n=float('nan'), m=[float('inf')])], tmp_path/'a.jsonl')
    assert json.loads((tmp_path/'a.jsonl').read_text(), parse_constant=pytest.fail) == dict(text='a', n='NaN', m=['Infinity'])


def test_every_command_writes_a_format_alike(tmp_path):
    from enterprise_lm.data.dedupe import dedupe_file
    data = [dict(text='my lamp is dark\rnow and then', score=1, big=2**60 + 1, n=7, mixed=1), dict(text='another letter "we" got', score=.5, big=.5, n=None, mixed='灯')]
    for format in ('csv', 'tsv', 'jsonl', 'parquet'):
        convert(data, tmp_path/f'a.{format}'); dedupe_file(data, tmp_path/f'b.{format}')
        assert read(tmp_path/f'a.{format}') == read(tmp_path/f'b.{format}') and (tmp_path/f'a.{format}').read_bytes() == (tmp_path/f'b.{format}').read_bytes(), format
        assert [r['text'] for r in read(tmp_path/f'b.{format}')] == [r['text'] for r in data], format
    assert read(tmp_path/'a.parquet')[0] | dict(text='') == dict(text='', score=1., big=str(2**60 + 1), n=7, mixed='1')


def test_a_name_as_long_as_a_file_system_allows(tmp_path):
    name = '灯' * 70 + '.csv'
    assert convert([dict(text='a')], tmp_path/name)['rows'] == 1 and [p.name for p in tmp_path.iterdir()] == [name]


def test_a_row_with_nothing_to_keep_is_not_lost(tmp_path):
    data = [dict(text='灯坏了', id='1'), dict(message='灯又坏了', id='2'), dict(text=' ', id='')]
    done = convert(data, tmp_path/'o.txt', keep='text')
    assert (done['rows'], done['rejected'], done['blank']) == (1, 1, 1)
    assert json.loads(Path(done['rejected_file']).read_text()) == dict(source='rows:2', reason='nothing in the columns to keep, text', values=data[1])
