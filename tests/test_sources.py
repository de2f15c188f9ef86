"""What sources promise: hostile files are answered in a sentence, nothing is lost, nothing is changed, and no password is shown."""
import email.message, gzip, json, os, sys, time, tracemalloc

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings, strategies as st

from enterprise_lm.core.artifact import data_digest, file_digest
from enterprise_lm.core.errors import UserError, WorkError
from enterprise_lm.data.corpus import prepare
from enterprise_lm.data.databases import check_query, hub_source, sql_records
from enterprise_lm.data.docstrings import docstring_files
from enterprise_lm.data.documents import front_matter, html_text, sections
from enterprise_lm.data.files import formats, records, skipped_files
from enterprise_lm.data.mail import mbox_records, split_message
from enterprise_lm.data.sampling import sample_rows, sample_share, sample_strata
from enterprise_lm.data.sources import open_sources

pytest_plugins = ('postgres',)

quick = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def usable(path, **options):
    "(rows that can be used, reasons of those that cannot, the file's error)."
    good, bad = [], []
    try:
        for record in records(path, **options):
            if record.reason: bad.append((record.row, record.reason))
            else: good.append(record)
    except UserError as error: return good, bad, str(error)
    return good, bad, ''


# ---- files

pieces = st.sampled_from([b'text,label\n', b'a,b\n', b'"', b'""', b'\n', b'\r\n', b'\r', b'\0', b'{"text": "x"}\n', b'{"text": ', b'[', b']', b'\t', '灯'.encode(), '灯'.encode('gb18030'), '燈'.encode('big5'),
                          b'\xff\xfe', b'\xef\xbb\xbf', b'From a@b Sun Mar  1 10:00:00 2026\n', b'From ', b'>From ', b'Subject: =?gb2312?B?x+s=?=\n', b'Subject: =?x?Q?=3?=\n', b'From: a@b\n', b'Content-Type: multipart/mixed; boundary=x\n', b'--x\n', b'--x--\n',
                          b'Content-Transfer-Encoding: base64\n', b'Content-Type: text/html; charset="\n', b'Date: Mon, 99 Foo 99999 25:61:61 +9999\n', b'On 1 May Ann wrote:\n', b'> q\n', b'-- \n', b'<p>', b'<!--', b'<table><td>', b'</', b'<![CDATA[', b'&#x110000;', b'<script>', b'---\n', b'title: "x\n', b'# h\n', b'```\n', b'PAR1', b' '])
blobs = st.one_of(st.lists(pieces, max_size=14).map(b''.join), st.binary(max_size=200), st.text(max_size=80).map(lambda t: t.encode('utf-8', 'surrogatepass')))


@settings(quick, max_examples=300)
@given(blobs, st.sampled_from(formats), st.sampled_from(['utf-8', 'gb18030', 'utf-16', 'big5', 'cp1252']), st.sampled_from(['document', 'section']))
def test_no_bytes_break_a_reader(tmp_path_factory, data, format, encoding, unit):
    path = tmp_path_factory.getbasetemp()/f'fuzz.{format}'
    path.write_bytes(data)
    good, bad, error = usable(path, encoding=encoding, unit=unit)
    assert '\n' not in error and (not error or 'fuzz' in error)
    for record in good: assert record.row >= 1 and (format in ('csv', 'tsv', 'jsonl', 'json', 'parquet') or record.values['text'].strip('\0') is not None)
    packed = path.with_suffix(f'.{format}.gz')
    if format not in ('parquet',) and data:
        packed.write_bytes(gzip.compress(data))
        again = usable(packed, encoding=encoding, unit=unit)
        assert [r.values.get('text') for r in again[0]] == [r.values.get('text') for r in good] and len(again[1]) == len(bad) and bool(again[2]) == bool(error)


@pytest.mark.parametrize('ending, before, after', [('txt', '', ''), ('jsonl', '{"text": "one"}\n{"text": "', '"}\n'), ('csv', 'text,label\none,a\n', ',a\n'), ('csv', 'text,label\none,a\n"', '",a\n'),
                                                  ('csv', 'text,label\none,a\n"first\n', '\nlast",a\n'), ('tsv', 'text\tlabel\none\ta\n', '\ta\n'), ('md', '', ''), ('html', '<p>', ''), ('eml', 'From: a@b\n\n', ''),
                                                  ('mbox', 'From a Sun Mar  1 10:00:00 2026\nFrom: a@b\n\n', '\n\n')])
def test_a_line_without_end_costs_no_memory(tmp_path, ending, before, after):
    path, last = tmp_path/f'long.{ending}', {'txt': 'two\n', 'jsonl': '{"text": "two"}\n', 'csv': 'two,b\n', 'tsv': 'two\tb\n', 'mbox': 'From a Sun Mar  1 10:00:00 2026\nFrom: a@b\n\ntwo\n'}.get(ending, '')
    with open(path, 'w') as file:
        file.write(before)
        for _ in range(60 if ending in ('eml', 'mbox') else 25): file.write('word, ' * 170_000 if ending != 'csv' and ending != 'tsv' else 'words_' * 170_000)
        file.write(after or '\n'); file.write(last)
    tracemalloc.start()
    good, bad, error = usable(path)
    peak = tracemalloc.get_traced_memory()[1]; tracemalloc.stop()
    assert peak < (200e6 if ending in ('eml', 'mbox') else 120e6) and not error and len(bad) == 1 and 'limit' in bad[0][1] or 'more than' in bad[0][1]
    if last: assert good[-1].values['text'].strip() == 'two'


def test_a_stream_is_not_kept(tmp_path):
    with open(tmp_path/'big.jsonl', 'w') as file:
        for i in range(20_000): file.write(json.dumps(dict(text=f'message {i} ' + 'word ' * 100)) + '\n')
    tracemalloc.start()
    [opened] = open_sources(tmp_path/'big.jsonl')
    assert sum(1 for _ in opened.records) == 20_000
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()


def test_mixed_encodings_are_set_aside_line_by_line(tmp_path):
    text = '我的包裹還沒有到，請您幫我查一下，謝謝您的幫忙。\n'
    for encoding, body in {'big5': text, 'gb18030': '我的包裹还没有到，请您帮我查一下。\n', 'cp1252': 'La lampe est cassée, déjà réparée\n'}.items():
        (tmp_path/'mixed.csv').write_bytes('text,label\n灯坏了,a\n'.encode() + body.encode(encoding))
        good, bad, error = usable(tmp_path/'mixed.csv')
        assert not error and [r.values['text'] for r in good] == ['灯坏了'] and bad == [(3, f'bytes that are not utf-8, probably {encoding}')]


def test_a_folder_of_everything(tmp_path):
    (tmp_path/'in'/'sub').mkdir(parents=True)
    here = tmp_path/'in'
    (here/'a.csv').write_text('text\nfrom csv\n'); (here/'b.md').write_text('---\ntitle: B\n---\n\nfrom md\n'); (here/'sub'/'c.html').write_text('<p>from html')
    (here/'d.mbox').write_bytes(b'From a Sun Mar  1 10:00:00 2026\nFrom: a@b\n\nfrom mbox\n'); (here/'e.eml').write_bytes(b'From: a@b\n\nfrom eml\n')
    (here/'f.txt.gz').write_bytes(gzip.compress(b'from gz\n')); (here/'g.docx').write_bytes(b'PK'); (here/'README.md').write_text('no data'); (here/'.hidden.txt').write_text('no')
    opened = open_sources(here)
    assert [o.name for o in opened] == ['a.csv', 'b.md', 'd.mbox', 'e.eml', 'f.txt.gz', 'sub/c.html'] and 'g.docx' in opened[0].notes[0]
    assert [r.values['text'].strip() for o in opened for r in o.records] == ['from csv', 'from md', 'from mbox', 'from eml', 'from gz', 'from html']
    assert all(o.sha256 == file_digest(here/o.name) for o in opened) and skipped_files(here) == ['g.docx']


# ---- documents

@quick
@given(st.lists(st.sampled_from(['# a', '## b', 'text', '', '```', '~~~', '    # code', '#', '灯', '---']), max_size=20))
def test_sections_lose_no_line(lines):
    text = '\n'.join(lines)
    assert [l for _, _, part in sections(text) for l in part.split('\n') if l.strip()] == [l for l in lines if l.strip()]
    for line, heading, part in sections(text):
        if heading: assert lines[line - 1] == part.split('\n')[0]


@quick
@given(st.text(alphabet='<>/!-[]="\' abpult\n&;#灯', max_size=200))
def test_html_of_any_kind_is_text(html):
    text, stated = html_text(html)
    assert isinstance(text, str) and text == text.strip() and front_matter(html)[1] is not None


@pytest.mark.parametrize('piece', ['<', '<!--', '<a b="', '<![CDATA[>', '<ul><li>', '<nav>', '<title>x', '</p ', '<pre>\n```\n', '&#', '--  ', '<script></scrip'])
def test_hostile_pages_take_no_time(piece):
    sizes = [len(piece) * n for n in (20_000, 40_000)]
    spent = []
    for size in sizes: start = time.perf_counter(); html_text(piece * (size // len(piece)) + '>'); spent.append(time.perf_counter() - start)
    assert spent[1] < 6, f'{piece!r} takes {spent}'


# ---- mail

@quick
@given(st.lists(st.sampled_from(['Hello', '> quoted', '>> deep', '', '-- ', 'On 1 May, Ann <a@b> wrote:', '在 2026年3月1日，李雷 写道：', '发件人：a@b', '收件人：c@d', '-----Original Message-----', '------------------ 原始邮件 ------------------', '发自我的 iPhone', '灯坏了', 'From: a', 'Sent: b']), max_size=15))
def test_every_line_of_a_mail_is_somewhere(lines):
    parts = split_message('\n'.join(lines))
    assert sorted(l for part in parts for l in part.split('\n') if l) == sorted(l for l in lines if l)
    assert not any(l.startswith('>') for l in parts[0].split('\n'))


@pytest.mark.parametrize('text, written', {
    '好的\n\n------------------ 原始邮件 ------------------\n发件人: "a" <a@b.cn>;\n正文': '好的', '收到\n发件人：李雷\n发送时间：2026年3月1日\n内容': '收到', 'ok\n在 2026-03-01 10:00:00，"ann" <a@b> 写道：\n全文': 'ok',
    'Ja\nAm 01.03.26 um 10:00 schrieb Ann:\n> hm': 'Ja', 'Fine\n-----Original Message-----\nFrom: x': 'Fine', '他在信中这样写道：\n我很好': '他在信中这样写道：\n我很好',
    'fine\n\n> On Monday 2 you wrote:\n\nbelow': 'fine\n\n\nbelow'}.items())
def test_reply_conventions(text, written): assert split_message(text)[0] == written


def test_mailboxes_that_are_broken(tmp_path):
    (tmp_path/'a.mbox').write_bytes(b'junk before\nmore\nFrom a Sun Mar  1 10:00:00 2026\nno header\n\nFrom b Sun Mar  1 10:00:00 2026\nSubject: x\nContent-Type: text/plain; charset=nonsense\nContent-Transfer-Encoding: base64\n\n!!!not base64\n'
                                  b'From c Sun Mar  1 10:00:00 2026\nSubject: fine\nContent-Type: text/plain; charset=gb2312\n\n' + '灯坏了'.encode('gb18030') + b'\nFrom me to you\n')
    good, bad, error = usable(tmp_path/'a.mbox')
    assert not error and [row for row, _ in bad][:2] == [1, 3] and "before the first 'From '" in bad[0][1] and good[-1].values['text'] == '灯坏了\nFrom me to you' and good[-1].values['title'] == 'fine'
    (tmp_path/'b.mbox').write_bytes('From a'.encode('utf-16') * 50)
    assert 'b.mbox is a binary file' in usable(tmp_path/'b.mbox')[2]


def test_threads_and_parts(tmp_path):
    with open(tmp_path/'t.mbox', 'wb') as file:
        for n, (id, before) in enumerate({'1': '', '2': '1', '3': '2'}.items()):
            message = email.message.EmailMessage()
            message['Message-ID'], message['From'], message['Subject'], message['Date'] = f'<{id}@x>', f'王 <W{n}@X.cn>', '灯', 'Sun, 01 Mar 2026 23:30:00 -0200'
            if before: message['In-Reply-To'] = f'<{before}@x>'
            message.set_content(f'第{n}封\n'); message.add_alternative('<p>html</p>', subtype='html'); message.add_attachment(b'%PDF', maintype='application', subtype='pdf', filename='账单.pdf')
            file.write(b'From x Sun Mar  1 10:00:00 2026\n' + bytes(message) + b'\n\n')
    values = [r.values for r in mbox_records(tmp_path/'t.mbox', 't')]
    assert {v['group'] for v in values} == {'1@x'} and values[1]['text'] == '第1封' and values[2]['subject'] == 'w2@x.cn'
    assert values[0]['time'] == '2026-03-02T01:30:00Z' and values[0]['attachments'] == '账单.pdf'


# ---- databases

@pytest.mark.parametrize('query', ['DELETE FROM t', 'SELECT 1; SELECT 2', 'WITH x AS (UPDATE t SET a = 1 RETURNING *) SELECT * FROM x', 'SELECT * INTO u FROM t', '', ';', 'DROP TABLE t', '/* SELECT */ TRUNCATE t', 'PRAGMA writable_schema = 1', "ATTACH 'x' AS y", 'EXPLAIN DELETE FROM t'])
def test_only_a_question_is_asked(query):
    with pytest.raises(UserError): check_query(query)


@pytest.mark.parametrize('query', ["SELECT 'delete; drop'", 'select "update" from t', '(SELECT 1)', 'WITH x AS (SELECT 1) SELECT * FROM x -- drop', "SELECT replace(a, 'b', 'c') FROM t", 'VALUES (1)', 'SELECT $$;$$;'])
def test_questions_are_asked(query): assert check_query(query)


@pytest.mark.parametrize('query', ["SELECT 1 /*!50000 INTO OUTFILE '/tmp/x' */", 'SELECT /*M!100100 sleep(9) */ 1', "SELECT '\\'' INTO OUTFILE \"/tmp/x\" #'", "SELECT 1 --1 INTO OUTFILE '/tmp/x'", "SELECT 1 # one; two\n INTO @a"])
def test_what_mysql_carries_out_is_no_comment(query):
    with pytest.raises(UserError): check_query(query, 'mysql')


@settings(quick, max_examples=200)
@given(st.lists(st.sampled_from(["'", '"', '\\', '#', '--', ' ', '/*', '*/', '/*!', '`', '\n', 'a', '$$', ';', 'INTO x', 'delete from t']), max_size=12).map(' '.join), st.sampled_from(['', 'mysql', 'mariadb']))
def test_any_query_is_judged_or_refused(rest, dialect):
    try: checked = check_query(f'SELECT 1 {rest}', dialect)
    except UserError as error: assert '\n' not in str(error); return
    if dialect: assert check_query(f'SELECT 1 {rest}')   # never more than what is a question for every other


def test_a_session_of_mysql_is_told_to_change_nothing():
    from types import SimpleNamespace
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool
    from enterprise_lm.data.databases import _read_only
    said = []
    cursor = SimpleNamespace(execute=said.append, close=lambda: None)
    driver = SimpleNamespace(paramstyle='format', Error=Exception, connect=lambda *_, **__: SimpleNamespace(cursor=lambda: cursor, rollback=lambda: None, close=lambda: None, character_set_name=lambda: 'utf8mb4'))
    for name in ('mysql', 'mariadb'):
        _read_only(create_engine(f'{name}://ann@db.example/shop', module=driver, poolclass=NullPool, _initialize=False)).raw_connection().close()
    assert said == ['SET SESSION TRANSACTION READ ONLY'] * 2


@settings(quick, max_examples=200)
@given(st.text(alphabet="SELCTFROMselectfrom *;'\"-/$%:()\n\0灯1,", max_size=40))
def test_no_query_breaks_anything(tmp_path_factory, query):
    path = tmp_path_factory.getbasetemp()/'fuzz.db'
    if not path.exists(): sqlalchemy.create_engine(f'sqlite:///{path}').connect().exec_driver_sql('CREATE TABLE t (a)')
    try: list(sql_records(f'sqlite:///{path}', 'SELECT ' + query))
    except (UserError, WorkError) as error: assert '\n' not in str(error)


def test_sqlite_is_not_changed(tmp_path):
    url = f"sqlite:///{tmp_path/'a.db'}"
    with sqlalchemy.create_engine(url).begin() as connection:
        connection.exec_driver_sql('CREATE TABLE t (id INTEGER, text TEXT)')
        connection.exec_driver_sql("INSERT INTO t VALUES (1, '100% 灯'), (2, 'b')")
    before = file_digest(tmp_path/'a.db')
    [opened] = open_sources(f"{url}#SELECT id, text FROM t WHERE text LIKE '%灯' OR id = 2 ORDER BY id")
    assert [r.values for r in opened.records] == [dict(id=1, text='100% 灯'), dict(id=2, text='b')] and not opened.notes and opened.name.startswith('sqlite:a.db#')
    assert file_digest(tmp_path/'a.db') == before
    with pytest.raises(UserError): open_sources(f"sqlite:///{tmp_path/'none.db'}#SELECT 1")
    assert not (tmp_path/'none.db').exists()


def test_postgresql_streams_and_is_not_changed(postgres):
    engine = sqlalchemy.create_engine(postgres, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE tickets AS SELECT n AS id, '灯坏了 ' || n AS text, now() AS time, 1.50::numeric AS price, NULL::text AS label, ARRAY[n] AS list FROM generate_series(1, 20000) n")
        connection.exec_driver_sql('CREATE FUNCTION sly() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM tickets; RETURN 1; END $$')
    found = list(sql_records(postgres, "SELECT * FROM tickets WHERE text LIKE '灯%' ORDER BY id"))
    assert len(found) == 20_000 and found[9].values | dict(time='') == dict(id=10, text='灯坏了 10', time='', price='1.50', label=None, list=[10]) and found[0].values['time'].startswith('20')
    with pytest.raises(UserError, match='read-only'): list(sql_records(postgres, 'SELECT sly()'))
    with pytest.raises(WorkError, match='after row'): list(sql_records(postgres, 'SELECT 1 / (15000 - id) AS text FROM tickets'))
    [a], [b] = (open_sources(postgres, query=f'SELECT text FROM tickets WHERE id <= {n} ORDER BY id') for n in (3, 3))
    assert len(list(a.records)) == len(list(b.records)) and a.sha256 == b.sha256
    stream = sql_records(postgres, 'SELECT text FROM tickets'); next(stream); stream.close()
    with engine.begin() as connection: assert connection.exec_driver_sql('SELECT count(*) FROM tickets').scalar() == 20_000


def test_no_password_is_shown(postgres):
    wrong = postgres.replace('p%40ss', 'wr0ng-s3cret')
    for url in (wrong, postgres.replace('/test', '/no_such'), 'postgresql+psycopg://ann:s3cret-pw@127.0.0.1:1/x', 'mysql+nodriver://ann:s3cret-pw@h/x', 'postgresql://:::s3cret-pw'):
        with pytest.raises(UserError) as error: list(sql_records(url, 'SELECT 1 AS text'))
        assert 's3cret' not in str(error.value) and 'p@ss' not in str(error.value) and 'p%40ss' not in str(error.value)


# ---- other sources

def test_hub_names():
    assert hub_source('hub://a/b') == dict(name='a/b', config='', split='', revision='') and hub_source('hub://imdb:plain/train')['split'] == 'train'
    for bad in ('hub://', 'hub://a b', 'hub://a/b/c/d', 'hub://a/b?script=x'):
        with pytest.raises(UserError): hub_source(bad)


def test_docstrings_run_nothing(tmp_path, monkeypatch):
    package = tmp_path/'sly_package'; (package/'_private').mkdir(parents=True)
    (package/'__init__.py').write_text('"""Sly.\n\nIt would shout."""\nraise SystemExit("it ran")\nclass A:\n    "A class."\n    @property\n    def x(self): "Get x."\n    @x.setter\n    def x(self, v): "Set x."\n    def _hidden(self): "no"\n')
    (package/'bad.py').write_bytes(b'def (:\n'); (package/'nul.py').write_bytes(b'\0'); (package/'_private'/'no.py').write_text('"no"'); (package/'latin.py').write_bytes(b'# -*- coding: latin-1 -*-\n"caf\xe9"\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    opened = {name: list(rows) for _, name, rows in docstring_files('docstrings://sly_package')}
    assert [r.values['id'] for r in opened['sly_package/__init__.py']] == ['sly_package', 'sly_package.A', 'sly_package.A.x', 'sly_package.A.x#2'] and 'sly_package' not in sys.modules
    assert opened['sly_package/bad.py'][0].reason and opened['sly_package/nul.py'][0].reason and opened['sly_package/latin.py'][0].values['text'] == 'café' and len(opened) == 4


def test_a_corpus_is_a_source(tmp_path):
    artifact = prepare([dict(text=f'text {i}', label='ab'[i % 2]) for i in range(40)], name='mine', root=tmp_path)
    opened = open_sources(artifact.path)
    assert sorted(o.name for o in opened) == ['mine/test', 'mine/train', 'mine/validation'] and sum(1 for o in opened for _ in o.records) == 40
    [train] = open_sources(f'{artifact.path}#train')
    assert train.digest == file_digest(artifact.path/'train.arrow') and next(iter(train.records)).values['label'] in 'ab'
    with pytest.raises(UserError, match='did you mean `train`'): open_sources(f'{artifact.path}#trian')
    (artifact.path/'train.arrow').write_bytes(b'x')
    with pytest.raises(UserError, match='changed'): open_sources(artifact.path)


def test_rows_are_drawn_as_they_are_read():
    drawn = []
    def rows():
        for i in range(5): drawn.append(i); yield dict(text=str(i))
    [opened] = open_sources(rows())
    next(iter(opened.records)); assert drawn == [0]
    data = [dict(text='灯', n=1), dict(text='b')]
    [opened] = open_sources(data)
    list(opened.records); assert opened.sha256 == data_digest(data)


@pytest.mark.parametrize('source', [7, b'x', None, '', 'https://example.com/a.csv', 's3://b/a.csv', 'sqlite:///none.db', 'docstrings://', 'docstrings://../x', 'hub://', 'sample://none', 'a\0b', '~no_such_user/x', ['nowhere.csv'], 'env:NOT_THERE#SELECT 1'])
def test_what_is_no_source_is_said(source):
    with pytest.raises(UserError) as error: list(open_sources(source))
    assert '\n' not in str(error.value)


# ---- sampling

some = st.lists(st.fixed_dictionaries(dict(text=st.text(max_size=3), label=st.sampled_from('abc'), w=st.integers(0, 5))), max_size=40)


@quick
@given(some, st.integers(0, 50), st.integers(0, 9), st.randoms(use_true_random=False))
def test_samples_do_not_depend_on_the_order(rows, size, seed, random):
    shuffled = random.sample(rows, len(rows))
    def texts(chosen): return sorted(r['text'] for r in chosen)
    assert texts(sample_rows(rows, size, seed=seed)) == texts(sample_rows(shuffled, size, seed=seed)) and len(sample_rows(rows, size)) == min(size, len(rows))
    assert texts(sample_share(rows, .4, seed)) == texts(sample_share(shuffled, .4, seed))
    for allocation in ('equal', 'proportional'):
        chosen = sample_strata(rows, size, 'label', allocation, seed)
        assert len(chosen) == min(size, len(rows))
    positions = [id(r) for r in rows]; assert [p for p in positions if p in {id(r) for r in sample_rows(rows, size)}] == [id(r) for r in sample_rows(rows, size)]
    assert all(r['w'] for r in sample_rows(rows, size, weight='w'))


# ---- a .json file that holds an array of objects

values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3), max_leaves=6)


@quick
@given(st.lists(st.one_of(st.dictionaries(st.text(max_size=5), values, max_size=4), values), max_size=8), st.sampled_from([None, 2]), st.sampled_from(['utf-8', 'utf-8-sig', 'utf-16', 'gb18030']))
def test_an_array_of_objects_is_read_like_json_lines(tmp_path_factory, elements, indent, encoding):
    path = tmp_path_factory.getbasetemp()/'rows.json'
    path.write_bytes(json.dumps(elements, indent=indent, ensure_ascii=encoding == 'gb18030').encode(encoding, 'surrogatepass'))
    found = list(records(path, encoding=encoding.removesuffix('-sig')))
    assert [r.row for r in found] == list(range(1, len(elements) + 1))
    for record, element in zip(found, elements):
        if isinstance(element, dict): assert record.values == element and not record.reason
        else: assert record.reason and json.loads(record.raw) == element


@pytest.mark.parametrize('content, error', [('{"text": "a"}', 'no JSON array'), ('[{"text": "a"}', 'line 1, column 15: malformed JSON'), ('7', 'no JSON array'), ('{"text": "a"}\n{"text": "b"}', 'line 2, column 1: malformed JSON'),
                                            ('[' * 100_000, 'JSON'), ('灯'.encode('gb18030').decode('latin-1'), 'JSON')])
def test_what_is_no_array_is_said(tmp_path, content, error):
    (tmp_path/'a.json').write_bytes(content.encode('latin-1', 'replace'))
    good, bad, said = usable(tmp_path/'a.json')
    assert not good and not bad and error in said and 'a.json' in said


def test_a_json_file_beyond_the_limit_is_to_be_json_lines(tmp_path, monkeypatch):
    monkeypatch.setattr('enterprise_lm.data.files.longest_json', 30)
    (tmp_path/'a.json').write_text('[{"text": "The lamp is dark"}, {}]')
    with gzip.open(tmp_path/'b.json.gz', 'wb') as file: file.write(b'[' + b' ' * 1000 + b']')
    for name in ('a.json', 'b.json.gz'): assert f'{name} holds more than' in usable(tmp_path/name)[2] and 'convert it to jsonl' in usable(tmp_path/name)[2]


def test_settings_beside_data_are_no_data(tmp_path):
    (tmp_path/'rows.json').write_text(' [{"text": "灯坏了"}]', encoding='utf-8'); (tmp_path/'package.json').write_text('{"name": "shop"}')
    [opened] = open_sources(tmp_path)
    assert [r.values['text'] for r in opened.records] == ['灯坏了'] and skipped_files(tmp_path) == ['package.json'] and 'package.json' in opened.notes[0]


def test_what_is_no_file_is_called_what_it_is(tmp_path):
    os.mkfifo(tmp_path/'pipe'); (tmp_path/'loop.csv').symlink_to('loop.csv'); (tmp_path/'gone.csv').symlink_to('nowhere')
    for path, words in ((tmp_path/'pipe', 'is a pipe'), (tmp_path/'loop.csv', 'leads to itself'), (tmp_path/'gone.csv', 'leads to nothing'), ('/dev/null', 'is a device')):
        with pytest.raises(UserError, match=words): open_sources(path)


def test_a_field_that_stands_twice_is_a_bad_row_with_both_values(tmp_path):
    (tmp_path/'a.jsonl').write_text('\ufeff\ufeff{"text": "one"}\n{"text": "a", "text": "b"}\n{"text": "c", "n": [{"k": 1, "k": 2}]}\n{"text": "d", "n": 1e400}\n', encoding='utf-8')
    (tmp_path/'a.json').write_text('\ufeff[{"text": "one"}, {"text": "a", "text": "b"}, {"text": "c", "n": [{"k": 1, "k": 2}]}, {"text": "d", "n": 1e400}]', encoding='utf-8')
    for name in ('a.jsonl', 'a.json'):
        found = list(open_sources(tmp_path/name)[0].records)
        assert [bool(r.reason) for r in found] == [False, True, True, False] and found[3].values == dict(text='d', n='1e400')
        assert all(v in found[1].raw for v in ('"a"', '"b"')) and '`k`' in found[2].reason


@pytest.mark.parametrize('ending', ['csv', 'tsv'])
def test_a_second_byte_order_mark_is_no_part_of_a_name(tmp_path, ending):
    (tmp_path/f'a.{ending}').write_text('\ufeff\ufeff"id",text\n1,one\n'.replace(',', ',' if ending == 'csv' else '\t'), encoding='utf-8')
    assert [r.values for r in open_sources(tmp_path/f'a.{ending}')[0].records] == [dict(id='1', text='one')]


closings = st.sampled_from(['Regards,', 'Best regards', 'Thanks', 'Thanks!', 'Cheers', '此致', '敬礼', '谢谢', '祝好', '-- ', 'John Carter', '王小明', '> quoted', '', 'please call me', '尽快回复', 'It works.', '灯坏了。', '+1 415 555 0134', 'Best regards, Ann', 'PS: one more thing?'])

@settings(max_examples=300, deadline=None)
@given(st.lists(closings, max_size=12))
def test_no_line_of_a_mail_is_lost_and_closings_leave_a_body(lines):
    parts = split_message('\n'.join(lines))
    assert sorted(l for part in parts for l in part.split('\n') if l.strip()) == sorted(l for l in lines if l.strip())
    plain = [l for l in lines if l != '-- ' and not l.startswith('>')]
    if plain == lines and any(l.strip() for l in lines): assert parts[0].strip()
    for sentence in ('It works.', '灯坏了。', 'PS: one more thing?'):
        if plain == lines: assert sentence not in parts[2].split('\n')


@pytest.mark.parametrize('body, closing', [('The lamp is dark.', 'Regards,\nJohn Carter\nAcme Inc\n+1 415 555 0134'), ('灯坏了，请尽快处理。', '此致\n敬礼\n王小明'), ('Where is it?', 'Thanks\nJohn'), ('请问保修多久？', '谢谢\n李雷'), ('It flickers.', 'Best regards, Ann Loom'), ('Thanks for the lamp.\nIt works, thanks', '')])
def test_closing_words_part_the_signature(body, closing):
    assert split_message(f'{body}\n\n{closing}\n\n> quoted') == (body, '> quoted', closing)
