"""A person's words are found wherever they stand and however they were escaped, and are never taken for another's."""
import csv, io, json, os, tempfile, threading
from pathlib import Path

from hypothesis import example, given, settings, strategies as st

from enterprise_lm.data.subjects import subject_key, subject_marker, telling_length
from enterprise_lm.data.every_byte import search_bytes, unescaped, word_finder
from enterprise_lm.evidence import Known, own_words, row_judge


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
    known = Known(subject_key('her'), texts=frozenset(texts), words=words, parts=parts)
    judge = row_judge(known, subject_marker(), lambda text: 't-')
    assert not any(judge(dict(text=text, user_id='another')) for text in texts + others)
    assert all(judge(dict(text=text, user_id='her')) == 'row' for text in texts)
    assert all(judge(dict(text=word)) == 'row' for word in words)


def test_a_name_alone_in_a_cell_proves_nothing():
    known = Known(subject_key('Mia'), frozenset({'Mia', '100007', 'mia@shop.example'}))
    judge = row_judge(known, subject_marker(), lambda text: 't-')
    assert judge(dict(text='…', label='Mia', customer_id='c1')) == judge(dict(id='100007', customer_id='100012')) == ''
    assert judge(dict(text='…', label='Mia')) == judge(dict(id=100007)) == judge(dict(text='ask mia@shop.example')) == 'name'
    assert judge(dict(email='Mia@shop.example')) == judge(dict(customer_id='MIA')) == 'row' and not judge(dict(email='mia@shop.example', user_id='c1'))


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
