"""A person's words are found wherever they stand and however they were escaped, and are never taken for another's."""
import csv, io, json, os, tempfile, threading
from pathlib import Path

from hypothesis import example, given, settings, strategies as st

from enterprise_lm.core.settings import get_settings
from enterprise_lm.core.text import fold
from enterprise_lm.data.convert import convert
from enterprise_lm.data.corpus import Corpus, prepare
from enterprise_lm.data.refresh import find_corpus
from enterprise_lm.data.subjects import subject_key, subject_marker, telling_length
from enterprise_lm.data.every_byte import search_bytes, unescaped, word_finder
from enterprise_lm.evidence import Known, own_words, row_judge
from enterprise_lm.subjects import erase, find_subject
from enterprise_lm.written import note_written


def keyed(folder):
    "Settings of a workspace whose marks are the same in every run."
    (folder/'privacy.key').write_text('the key of a test workspace')
    (folder/'settings.ini').write_text('[privacy]\nkey = file:privacy.key\n')
    return get_settings(folder)

def told(who, here):
    "A certificate, after the person is erased."
    return erase(who, lambda *a: None, here).json('erasure.json')

def written(rows, here, name='out.jsonl'):
    "A file that `convert` wrote of rows."
    (here.root/'in.jsonl').write_text(''.join(json.dumps(r) + '\n' for r in rows))
    note_written(convert(here.root/'in.jsonl', here.root/name), 'convert', str(here.root/'in.jsonl'), here)
    return here.root/name

def left_in(name, here):
    "Ids of the rows of a corpus."
    corpus = Corpus(find_corpus(name, here.folder('artifacts')))
    return {r['id'] for side in corpus.splits for r in corpus[side].rows()}

letter = 'Since the move to Lindenstrasse in March my reading lamp hums at night and I cannot sleep any more'
others = [dict(id=f'k{n}', text=f'row {n} is about lamp number {n} and what it does in the night', label='ab'[n % 2], customer_id=f'c{n}') for n in range(40)]
mark_in_tests = subject_marker(keyed(Path(tempfile.mkdtemp())))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text('ab灯', max_size=30), max_size=8), st.text('ab灯', max_size=80))
def test_words_that_stand_in_one_another_are_all_found(words, text):
    words += [text[3:40], text[5:70], text[5:12]]
    assert set(word_finder(words)(text)) == {w for w in words if w and w in text}
    words, text = {w.encode() for w in words}, text.encode()
    assert set(word_finder(words)(text)) == {w for w in words if w and w in text}


def in_a_table(text):
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow([text])
    return written.getvalue()


ways = (json.dumps, lambda text: json.dumps(text, ensure_ascii=False), repr, in_a_table)

@settings(max_examples=300, deadline=None)
@given(st.text('aé灯😀\n\t\x0b"\'\\unx04/, \u3000\xa0', min_size=20, max_size=60), st.lists(st.sampled_from(ways), max_size=3), st.integers(12, 60))
@example('Hello,\nmy lamp "Luna" is broken since Monday', [json.dumps], 60)
@example('台灯坏了，\n请帮我换一个新的灯泡，谢谢你们的帮助', [repr, json.dumps], 60)
@example('it is in C:\\new\\lamp\\\n"Luna"\\', [json.dumps, json.dumps], 14)
def test_a_text_is_found_however_it_was_escaped(text, escapes, cut):
    needle, written = text[:cut].encode(), text
    for escape in escapes: written = escape(written)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder)/'a.log').write_bytes(b'12:30 ' + written.encode() + b'\n')
        telling = len(unescaped(needle)) >= 12   # of twenty backslashes nothing is left
        assert search_bytes(folder, [needle])[0] == ['a.log'] or not telling
        assert search_bytes(folder, [b'another letter' + needle])[0] == []


def test_a_text_that_is_all_marks_is_not_found_everywhere(tmp_path):
    (tmp_path/'a.json').write_text('{"a": "b\\n"}')
    assert search_bytes(tmp_path, [b'"' * 30, b'\\' * 30, b'\\"' * 20])[0] == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text('ab灯 .', min_size=15, max_size=80), min_size=1, max_size=4), st.lists(st.text('ab灯 .', max_size=60), max_size=4), st.integers(0, 9))
def test_no_row_of_another_is_hers(texts, others, cut):
    others += ['Hello. ' + text[:-cut or None] + ' Thank you.' for text in texts[:2]]
    words, parts = own_words(texts, iter(others))
    assert not any(word in text for word in words for text in others)
    assert all(len(text) < telling_length or any(text in other for other in others) or {text, text[:60]} & words for text in texts)
    known = Known(mark_in_tests('her'), texts=frozenset(texts), words=words, parts=parts)
    judge = row_judge(known, mark_in_tests, lambda text: 't-')
    assert not any(judge(dict(text=text, user_id='another')) for text in texts + others)
    assert all(judge(dict(text=text, user_id='her')) == 'row' for text in texts)
    assert all(judge(dict(text=word)) == 'row' for word in words)


def test_a_name_alone_in_a_cell_proves_nothing():
    known = Known(mark_in_tests('Mia'), frozenset({'Mia', '100007', 'mia@shop.example'}))
    judge = row_judge(known, mark_in_tests, lambda text: 't-')
    assert judge(dict(text='…', label='Mia', customer_id='c1')) == judge(dict(id='100007', customer_id='100012')) == ''
    assert judge(dict(text='…', label='Mia')) == judge(dict(id=100007)) == judge(dict(text='ask mia@shop.example')) == 'name'
    assert judge(dict(email='Mia@shop.example')) == judge(dict(customer_id='MIA')) == 'row'


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(['id', 'text', 'from', 'to', 'group', 'email', 'label', 'note', 'kept']), st.sampled_from(
    ['case-2025-000001', letter, letter.upper(), 'Mia Loom', 'mia@shop.example', 'Mia <mia@shop.example>', mark_in_tests('Mia Loom'), 'the door'])))
def test_whose_row_it_is(row):
    known = Known(mark_in_tests('Mia Loom'), frozenset({'Mia Loom', 'mia@shop.example'}), frozenset({'case-2025-000001'}), frozenset({letter}),
                  *own_words([letter], ['You wrote: ' + letter]))
    judge = row_judge(known, mark_in_tests, lambda text: 't-')
    assert judge(row | dict(customer_id='mia loom')) == 'row' and judge(row | dict(user_id='c1')) != 'row'
    alone = {'mia@shop.example', mark_in_tests('Mia Loom')} & set(row.values())
    people = {'Mia Loom', 'Mia <mia@shop.example>'} & {row.get('from'), row.get('email'), row.get('to'), row.get('group')}
    assert judge(row | dict(user_id='c1')) == ('name' if alone or people else '')
    holds = any(v != 'the door' for v in row.values())
    assert judge({letter: '1', 'mia@shop.example': '2'}) == judge({'mail_to': 'mia@shop.example'}) == 'name'
    assert bool(judge(row)) == holds and (judge(row) == 'row' or not any(fold(v) == fold(letter) for v in row.values()))


def test_who_is_asked_for_by_address_is_listed_where_a_number_stands_too(tmp_path):
    here = keyed(tmp_path)
    made = written([dict(customer_id=17, email='ann@home.example', text='my lamp is dark'), dict(customer_id=18, email='bob@home.example', text='the door')], here)
    assert [h.name for h in find_subject('ann@home.example', here).holdings if 'mask the name' in h.action] == ['out.jsonl']
    assert told('ann@home.example', here)['still_there'] == ['out.jsonl'] and 'ann@' in made.read_text()
    assert told('17', here)['complete'] and 'bob@' in made.read_text() and 'ann@' not in made.read_text()
    assert told('ann@home.example', here)['complete']


def test_an_answer_in_her_ticket_stays(tmp_path):
    here, ticket = keyed(tmp_path), 'case-2025-000001'
    rows = [dict(r, group=ticket if n in (3, 4) else f'g{n}') for n, r in enumerate(others)]
    prepare(rows + [dict(id=ticket, text=letter, label='a', customer_id='her-1', group=ticket)], name='mail', settings=here, root=here.folder('artifacts'))
    made = written([dict(id=ticket, customer_id='her-1', text=letter), dict(id='case-2025-000002', customer_id='agent-7', in_reply_to=ticket, text='We send one')],
                   here, here.home.relative_to(here.root)/'notes.jsonl')   # every byte of which is searched
    assert told('her-1', here)['complete'] and left_in('mail', here) == {r['id'] for r in others}
    assert [json.loads(line)['customer_id'] for line in made.read_text().splitlines()] == ['agent-7']


def test_a_letter_that_is_quoted_is_found_where_it_stands_alone(tmp_path):
    here, root = keyed(tmp_path), keyed(tmp_path).folder('artifacts')
    reply = dict(id='a1', text=f'Dear customer, you wrote: {letter} We send a new one.', label='b', customer_id='agent-7')
    prepare(others + [dict(id='h1', text=letter, label='a', customer_id='her-1'), reply], name='mail', settings=here, root=root)
    prepare([{k: v for k, v in r.items() if k != 'customer_id'} for r in others] + [dict(id='n9', text=letter, label='a')], name='dump', settings=here, root=root)
    assert told('her-1', here)['complete'] and 'a1' in left_in('mail', here) and left_in('dump', here) == {r['id'] for r in others}


def test_a_text_in_other_capitals_goes_with_the_first_erasure(tmp_path):
    here = keyed(tmp_path)
    prepare(others + [dict(id='h1', text=letter, label='a', customer_id='her-1')], name='mail', settings=here, root=here.folder('artifacts'))
    made = written([dict(text=letter.upper()), dict(text='  ' + letter.replace(' ', '  ')), dict(note=[letter]), dict(text='Re: ' + letter), dict(text='the door')], here)
    assert any(h.name == 'out.jsonl' for h in find_subject('her-1', here).holdings)
    assert told('her-1', here)['complete'] and [json.loads(line)['text'] for line in made.read_text().splitlines()] == ['the door']


def test_what_goes_or_is_closed_while_it_is_searched(tmp_path):
    for n in range(60): (tmp_path/f'{n}').write_text('x')
    os.mkfifo(tmp_path/'pipe'); (tmp_path/'lost').symlink_to(tmp_path/'nowhere')
    stop = threading.Event()
    def churn():
        while not stop.is_set():
            for n in range(9): (tmp_path/f'wal{n}').write_text('' if n % 2 else 'y')
            for n in range(9): (tmp_path/f'wal{n}').unlink()
    writer = threading.Thread(target=churn)
    writer.start()
    try: assert all(search_bytes(tmp_path, [b'her words'])[0] == [] for _ in range(30))
    finally: stop.set(); writer.join()
    assert search_bytes(tmp_path, []) == ([], 60) and search_bytes(tmp_path/'nowhere', [b'x']) == ([], 0)


def test_a_text_that_lies_across_two_pieces_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr('enterprise_lm.data.every_byte._block', 64)
    text = 'Hello,\nmy "lamp" 灯坏了 is dark since Monday'
    for n in range(64):
        (tmp_path/'a.json').write_text(' ' * n + json.dumps(dict(text=text)) + ' ' * 99)
        assert search_bytes(tmp_path, [text.encode()]) == (['a.json'], (tmp_path/'a.json').stat().st_size), n
