"""What a concept library promises: nothing an editor did is lost, files come back whole, hostile ones are answered in one sentence."""
import csv, io, json, os, pickle, re, string, subprocess, sys, time
from pathlib import Path
from types import SimpleNamespace
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from enterprise_lm.core.errors import UserError
from enterprise_lm.core.settings import get_settings
from enterprise_lm.data.concepts import Concept, Library, concept_id, fold, from_dict, kinds, labels_of, statuses, to_dict
from enterprise_lm.data.concept_checks import above
from enterprise_lm.data.concept_edits import append_edit, read_edits, replay
from enterprise_lm.data.skos import read_csv, read_turtle, to_csv, to_turtle

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
text = st.text(st.characters(blacklist_categories=('Cs',), blacklist_characters='\0'), min_size=1, max_size=12).filter(lambda t: t.strip())
wild = st.one_of(text, st.sampled_from(['=cmd|x', "'=1", '-1', 'a | b', 'a\\', '\\| ', 'a\r\nb', '\tx', '"""', "'''", '灯', 'x\u2028', 'x\x85y', '\ufeffx', '# x', '<b>', "O'Neil", '| ']))
tags = st.sampled_from(['en', 'zh', 'de', 'zh-hans', ''])
labels = st.dictionaries(tags, st.lists(wild, min_size=1, max_size=3, unique=True), max_size=2)
note = st.fixed_dictionaries(dict(kind=st.sampled_from(['note', 'scopeNote', 'changeNote']), text=wild, language=tags))
example = st.fixed_dictionaries(dict(text=wild, language=tags, id=wild, source=wild))


@st.composite
def libraries(draw):
    ids = draw(st.lists(st.integers(0, 99).map('c-{:012d}'.format), min_size=1, max_size=4, unique=True))
    made = []
    for i, id in enumerate(ids):
        links = st.lists(st.sampled_from(ids[:i]), unique=True, max_size=2) if i else st.just([])
        made.append(Concept(id, draw(st.dictionaries(tags, wild, min_size=1, max_size=2)), draw(labels), draw(labels), draw(st.sampled_from(kinds)), draw(st.sampled_from(statuses)),
                            draw(links), draw(links), draw(st.dictionaries(tags, wild, max_size=1)), draw(st.lists(example, max_size=2)), draw(st.lists(note, max_size=2)),
                            draw(st.sampled_from([{}, dict(exactMatch=['https://a.example/x'])])), draw(st.integers(0, 10**6)), draw(st.floats(0, 1e6).map(lambda x: round(x, 3)))))
    return Library('shop', made)


def content(concepts):
    "Concepts as a graph holds them: lists without order and repetition."
    def flat(v): return sorted({json.dumps(x, sort_keys=True) for x in v}) if isinstance(v, list) else {k: flat(x) for k, x in v.items()} if isinstance(v, dict) else v
    def value(d): return {k: flat(v) for k, v in d.items() if v != ''}
    return {c.id: value(to_dict(c)) for c in concepts}


@quick
@given(libraries())
def test_turtle_and_csv_lose_nothing(tmp_path, library):
    (tmp_path/'a.ttl').write_text(to_turtle(library), encoding='utf-8', newline='')
    (tmp_path/'a.csv').write_text(to_csv(library), encoding='utf-8', newline='')
    back, notes = read_turtle(tmp_path/'a.ttl')
    assert not notes
    def without_empty(d): return json.loads(json.dumps(d))
    assert content(back) == content(library)
    assert {c.id: to_dict(c) for c in read_csv(tmp_path/'a.csv')} == {c.id: to_dict(c) for c in read_csv(tmp_path/'a.csv', Library())} == {c.id: to_dict(c) for c in library}
    assert to_turtle(Library('shop', back)) == to_turtle(library)


@quick
@given(libraries())
def test_no_cell_of_an_export_is_a_formula(library):
    for row in csv.reader(io.StringIO(to_csv(library), newline='')):
        assert not any(cell[:1] in ('=', '+', '-', '@', '\t', '\r') for cell in row)


@quick
@given(st.binary(max_size=300) | st.text(string.printable, max_size=200).map(str.encode))
def test_hostile_files_are_answered_in_one_sentence(tmp_path, data):
    for name, read in (('x.ttl', read_turtle), ('x.csv', read_csv)):
        (tmp_path/name).write_bytes(data)
        try: read(tmp_path/name)
        except UserError as error: assert '\n' not in str(error) and name in str(error)


turtle = st.lists(st.sampled_from(['@prefix skos: <http://www.w3.org/2004/02/skos/core#> .', '<a>', '<b>', 'a', 'skos:Concept', 'skos:prefLabel', 'skos:broader', 'skos:example', '"x"@en', '"y"@zh',
                                   '[]', '[', ']', '(', ')', ';', '.', ',', '"', '3', 'true', '<', '_:b', '\n']), max_size=14).map(' '.join)


@quick
@given(turtle)
def test_any_turtle_is_read_or_refused(tmp_path, data):
    (tmp_path/'x.ttl').write_text('@prefix skos: <http://www.w3.org/2004/02/skos/core#> .\n<a> skos:prefLabel "a"@en .\n' + data, encoding='utf-8')
    try: found, notes = read_turtle(tmp_path/'x.ttl')
    except UserError: return
    Library('x', found).problems(); to_turtle(Library('x', found))


words = st.lists(st.sampled_from(['lamp', 'LAMPS', 'motion', 'sensor', '织', '感', '灯', ' ', '-', '. ', '\n\n', 'ｌａｍｐ', '🙂', "'", '12', 'א', 'é']), max_size=20).map(''.join) | st.text(max_size=60)


@settings(max_examples=300, deadline=None)
@given(words)
def test_mentions_are_where_they_say(text):
    library = Library('x', [Concept('c-1', dict(en='lamp', zh='灯'), hidden=dict(en=['lamps'])), Concept('c-2', dict(en='motion sensor', zh='织感')), Concept('c-3', dict(en='sensor'), status='rejected')])
    found, last = library.find(text), 0
    for m in found:
        assert m.start >= last and text[m.start:m.end] == m.text and m.concept != 'c-3'
        spoken = re.sub(r"[\s'’‐‑-]", '', fold(m.text))
        assert spoken in {re.sub(r'\s', '', fold(l)) for _, l in labels_of(library.concepts[m.concept])}
        last = m.end


def test_a_label_is_found_in_a_million_characters_with_ten_thousand_labels():
    library = Library('x', [Concept(f'c-{i}', dict(en=f'device {i} part', zh=f'设备{i}号')) for i in range(10_000)])
    assert len(library.find('nothing to see here, 没有什么。 ' * 30_000 + 'device 77 part 设备88号')) == 2


def proposed(day):
    def c(label, l='en', n=5, **more): return Concept(concept_id(label, l), {l: label}, count=n, **more)
    common = [c('lamp', n=9 * day), c('Ghent time'), c('织感', 'zh', 4 * day), c('motion sensor'), c('voucher')]
    return common[:4 if day == 2 else 5] + [c(f'term of day {day}')]


def edit(library):
    library.remove('Ghent time', who='r1', when='2026-01-01'); library.merge('织感', 'motion sensor', who='r1', when='2026-01-01')
    library.rename('voucher', 'discount code', who='r1', when='2026-01-01'); library.define('lamp', 'It shines.', who='r1', when='2026-01-01')


def test_edits_hold_over_three_days():
    library = Library('x', proposed(1))
    edit(library)
    for day in (2, 3):
        library = replay(Library('x', proposed(day)), library.edits)
        assert library.get('Ghent time').status == 'rejected' and not library.find('Ghent time')
        assert library.get('织感').preferred == dict(en='motion sensor', zh='织感')
        assert library.get('voucher').label == 'discount code' and library.get('lamp').definition == dict(en='It shines.')
        assert library.get(f'term of day {day}').status == 'candidate' and library.get('lamp').count == 9 * day
        if day == 2: library.accept('term of day 2', who='r2', when='2026-01-02')
    assert library.get('term of day 2').status == 'accepted'


steps = st.lists(st.tuples(st.sampled_from(['rename', 'add_label', 'merge', 'remove', 'accept', 'link', 'unlink', 'define', 'add']), st.sampled_from('abcdef'), st.sampled_from('abcdef'), st.sampled_from(['broader', 'narrower', 'related'])), max_size=12)


@quick
@given(steps)
def test_any_series_of_edits_leaves_a_sound_library_that_replays_the_same(steps):
    base = lambda: [Concept(concept_id(l), dict(en=l), count=i) for i, l in enumerate('abcde')]
    library = Library('x', base())
    for action, one, two, relation in steps:
        arguments = dict(rename=(one, two), add_label=(one, two), merge=(one, two), link=(one, relation, two), unlink=(one, two), define=(one, 'text')).get(action, (one,))
        try: getattr(library, action)(*arguments, who='r1', when='2026-01-01')
        except UserError: continue
        assert library.problems() == []
    again = replay(Library('x', base()), library.edits)
    assert content(again) == content(replay(Library('x', base()), library.edits))
    assert {c.id: c.status for c in again} == {c.id: c.status for c in library}
    assert again.problems() == []


def test_edits_of_two_processes_at_once_are_all_kept(tmp_path):
    code = ("import sys; from enterprise_lm.data.concept_edits import append_edit\n"
            "for i in range(200): append_edit(sys.argv[1], dict(action='accept', who=sys.argv[2], i=i, pad='x' * 500))")
    running = [subprocess.Popen([sys.executable, '-c', code, str(tmp_path/'j.jsonl'), w]) for w in 'ab']
    assert [p.wait(60) for p in running] == [0, 0]
    assert len(read_edits(tmp_path/'j.jsonl')) == 400


from enterprise_lm.data.read import read_rows
rows = [dict(text=t) for t in read_rows('sample://support').table['text'].to_pylist()[::3]]


def day(folder, data, crash=''):
    "One day in a workspace: build, in a process that may be killed at a point of the way."
    code = ("import json, os, sys\n"
            "import enterprise_lm.core.artifact as artifact, enterprise_lm.data.concept_library as library, enterprise_lm.data.concept_versions as versions\n"
            "def die(*_, **__): os._exit(9)\n"
            "if sys.argv[2]: setattr(artifact if hasattr(artifact, sys.argv[2]) else versions, sys.argv[2], die)\n"
            "made = library.build_library([dict(text=t) for t in json.loads(sys.argv[1])], 'shop', part='day-' + sys.argv[3], tagger=None)\n"
            "print(made.digest)")
    texts = [r['text'] for r in data]
    return subprocess.run([sys.executable, '-c', code, json.dumps(texts), crash, str(len(texts))], cwd=folder, capture_output=True, text=True, timeout=120)


def edits_of_day_one(folder):
    code = ("from enterprise_lm.data.concept_library import open_library\n"
            "shop = open_library('shop')\n"
            "shop.merge('织感', 'sensor', who='r1', when='2026-01-01'); shop.remove('lamp', who='r1', when='2026-01-01')\n"
            "import os; os._exit(9)")  # killed before anything is saved
    subprocess.run([sys.executable, '-c', code], cwd=folder, timeout=120)


def test_three_days_end_the_same_when_processes_are_killed(tmp_path, monkeypatch):
    from enterprise_lm.data.concept_library import open_library
    digests = {}
    for name, crashes in dict(calm=[], killed=['_publish', 'to_csv']).items():
        folder = tmp_path/name
        folder.mkdir()
        day(folder, rows); edits_of_day_one(folder)
        for crash in crashes: assert day(folder, rows[:-9], crash).returncode == 9
        day(folder, rows[:-9])
        for crash in crashes[:1]: assert day(folder, rows[9:-9], crash).returncode == 9
        digests[name] = day(folder, rows[9:-9]).stdout
        monkeypatch.chdir(folder)
        shop = open_library('shop')
        assert shop.get('lamp').status == 'rejected' and not shop.find('my lamp') and shop.get('织感').label == 'sensor'
        assert not list(folder.rglob('.draft-*'))
    assert digests['calm'] == digests['killed'] != ''


def test_the_functions_of_the_command_line(tmp_path, monkeypatch):
    from enterprise_lm.data.concept_library import concepts_build, concepts_edit, concepts_export, concepts_import, concepts_query
    monkeypatch.chdir(tmp_path); monkeypatch.setattr('enterprise_lm.data.candidates._tagger', lambda: None)
    (tmp_path/'mail.jsonl').write_text('\n'.join(map(json.dumps, rows[:200])), encoding='utf-8')
    built = concepts_build('mail.jsonl', 'shop')
    assert json.loads(json.dumps(built)) == built and built['new'] == built['concepts'] > 3
    assert concepts_build('mail.jsonl', 'shop')['version'] == built['version']
    concepts_edit('shop', 'define', 'lamp', 'It shines.', who='r1')
    assert concepts_query('shop', 'LAMP')['definition'] == {'en': 'It shines.'}
    assert concepts_query(f"shop@{built['version']}", 'lamp').get('definition') is None
    for name in ('a.ttl', 'a.csv'):
        assert concepts_export('shop', name)['concepts'] == built['concepts']
        assert concepts_import(name, 'copy-' + name[2:], 'r1')['concepts'] == built['concepts']
        assert concepts_import(name, 'copy-' + name[2:], 'r1')['changed'] == 0
    with pytest.raises(UserError, match='no concept'): concepts_query('shop', 'lampe')
    with pytest.raises(UserError, match='there is no folder'): concepts_export('shop', 'nowhere/a.csv')
    with pytest.raises(UserError, match='who='): concepts_edit('shop', 'accept', 'lamp')


def test_what_a_corpus_proposes_under_a_synonym_can_be_saved():
    label = {'zh': '开关'}
    library = Library('shop', [Concept(concept_id('开关', 'zh'), label, count=4)])
    library.add('switch', who='r7', synonyms=dict(zh=['开关']))
    assert library.problems() == [] and library.get('开关').preferred == dict(en='switch', zh='开关')
    morning = replay(Library('shop', [Concept(concept_id('开关', 'zh'), label, count=9)]), library.edits)
    assert morning.problems() == [] and [c.count for c in morning] == [9]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(('lamp', 'plant lamp', 'light', 'Loom Sense', '退款', '人体感应器')),
                          st.lists(st.sampled_from(('lampp', 'light', 'plant', 'lamp light', 'TV', '退宽', '感应', '应器退款')), max_size=3)), max_size=5),
       st.lists(st.sampled_from(('lampp', 'LAMPP', ' ', 'plant', 'light', '. ', '-', '退宽', '感应', '器', 'http://lampp/x', '\n', 'Loom', 'sense', '[PERSON]', 'TV')), max_size=12), st.booleans())
def test_standard_terms_are_stable_and_leave_the_rest(labels, pieces, alternatives):
    from enterprise_lm.data.standard_terms import StandardiseTerms
    def concept(number, label, others):
        language = 'en' if label.isascii() else 'zh'
        return Concept(f'c-{number}', {language: label}, synonyms={language: others[1:]} if others[1:] else {}, hidden={language: others[:1]} if others else {})
    terms = StandardiseTerms(Library('any', [concept(n, *given) for n, given in enumerate(labels)]), alternatives)
    text = ''.join(pieces)
    found = terms.replacements(text)
    assert all(0 <= a < b <= len(text) for a, b, _ in found) and all(x[1] <= y[0] for x, y in zip(found, found[1:]))
    done = terms.standardise(text)
    assert terms.standardise(done) == done
    assert done.count('http://lampp/x') == text.count('http://lampp/x') and done.count('[PERSON]') == text.count('[PERSON]')
    assert pickle.loads(pickle.dumps(terms)).standardise(text) == done


def test_versions_have_numbers_and_a_pinned_one_holds_every_edit(tmp_path):
    from enterprise_lm.data.concept_versions import find_library, library_versions, open_library, pinned_library, save_library
    home = get_settings(tmp_path)
    shop = Library('shop')
    for label in ('lamp', 'refund'):
        shop.add(label, who='r7')
        save_library(shop, root=tmp_path)
    first, second = library_versions('shop', tmp_path)
    assert find_library('shop@1', tmp_path) == first and find_library('shop@2', tmp_path) == find_library('shop', tmp_path) == second
    with pytest.raises(UserError, match='shop@2'): find_library('shop@3', tmp_path)
    assert pinned_library('shop', tmp_path, home) == second
    open_library('shop', tmp_path, home).add_label('lamp', 'lampp', hidden=True, who='r7')
    third = pinned_library('shop', tmp_path, home)
    assert third != second and find_library('shop@3', tmp_path) == third == pinned_library('shop@3', tmp_path, home)


def test_a_corpus_cleaned_by_a_library_is_made_again_the_same(tmp_path):
    from enterprise_lm.data.concept_versions import open_library, save_library
    from enterprise_lm.data.corpus import Corpus, prepare
    from enterprise_lm.data.refresh import refresh
    (tmp_path/'settings.ini').write_text('')
    home = get_settings(tmp_path)
    root = home.folder('artifacts')
    shop = Library('shop')
    shop.add('battery', who='r7', hidden=dict(en=['batery']), synonyms=dict(en=['power cell']))
    save_library(shop, root=root)
    (tmp_path/'mail.txt').write_text('\n'.join(f'My batery is flat and power cell {n} too' for n in range(40)))
    plain = prepare(tmp_path/'mail.txt', name='plain', root=root)
    assert 'terms' not in plain.parameters['preparation']
    made = prepare(tmp_path/'mail.txt', name='mail', root=root, preparation=dict(terms='shop'))
    assert all(t.startswith('My battery is flat and power cell') for t in Corpus.load(made)['train'].texts)
    assert made.json('cleaning.json')['steps'] == {'terms': 40}
    assert made.parameters['preparation']['terms'] == f'shop@{save_library(open_library("shop", root, home), root=root).short}'
    assert [p['kind'] for p in made.parents] == ['concepts']
    open_library('shop', root, home).add_label('battery', 'flat', who='r7', hidden=True)  # later edits change nothing
    assert refresh('mail', tmp_path/'mail.txt', root=root) == made
    assert prepare(tmp_path/'mail.txt', name='mail', root=root, preparation=dict(terms='shop@1'), processes=2) == made
    now = prepare(tmp_path/'mail.txt', name='mail', root=root, preparation=dict(terms='shop', alternatives=True))
    assert now != made and Corpus.load(now)['train'].texts[0].startswith('My battery is battery and battery')
    with pytest.raises(UserError, match='did you mean `shop`'): prepare(tmp_path/'mail.txt', root=root, preparation=dict(terms='shp'))


def test_english_verbs_have_no_invented_forms():
    from enterprise_lm.data.candidates import _listed
    hidden = {form for c in _listed() for form in c.hidden.get('en', ())}
    assert {'contacted', 'contacts', 'finding', 'stopped', 'replies', 'agreeing', 'buys'} <= hidden
    assert not hidden & {'finded', 'findes', 'contactes', 'stoped', 'openned', 'agreeed', 'seing', 'buied', 'choosed', 'goed'}


def test_an_export_leaves_foreign_files_alone(tmp_path, monkeypatch):
    from enterprise_lm.data.concept_library import concepts_build, concepts_export
    monkeypatch.chdir(tmp_path)
    (tmp_path/'letters.csv').write_text('title_x,body_x\n' + ''.join(f'{n},the lamp of desk {n} is dark\n' for n in range(9)))
    before = (tmp_path/'letters.csv').read_bytes()
    with pytest.raises(UserError, match='text='): concepts_build('letters.csv', 'shop')
    assert concepts_build('letters.csv', 'shop', text='body_x', part='monday')['concepts'] > 1
    for name in ('letters.csv', 'x.json', 'letters.ttl'):
        if name == 'letters.ttl': (tmp_path/name).write_text('mine')
        with pytest.raises(UserError): concepts_export('shop', name)
    assert (tmp_path/'letters.csv').read_bytes() == before and (tmp_path/'letters.ttl').read_text() == 'mine'
    for _ in range(2): assert concepts_export('shop', 'shop.csv')['concepts'] == concepts_export('shop', 'shop.ttl')['concepts']


@pytest.mark.parametrize('hours', [(10, 10, 10), (10, 9, 8)], ids=['one second', 'clocks that go back'])
def test_one_number_means_one_version_whoever_is_asked(tmp_path, monkeypatch, hours):
    import enterprise_lm.core.artifact as artifact
    from enterprise_lm.core.versions import count_versions, named_artifact
    from enterprise_lm.data.concept_versions import find_library, library_versions, newest_version, save_library
    clock = iter(hours * 4)
    monkeypatch.setattr(artifact, 'time', SimpleNamespace(gmtime=time.gmtime, strftime=lambda *_: f'2026-01-01T{next(clock):02}:00:00Z'))
    for name in ('shop', 'mail', 'lamps', 'desk'):
        library = Library(name)
        made = []
        for label in ('lamp', 'refund', 'sofa'):
            library.add(label, who='r7')
            made.append(save_library(library, root=tmp_path))
        assert library_versions(name, tmp_path) == made and newest_version(name, tmp_path) == named_artifact(name, tmp_path) == made[-1]
        for n in (1, 2, 3): assert find_library(f'{name}@{n}', tmp_path) == named_artifact(f'{name}@{n}', tmp_path) == made[n - 1]
        assert [count_versions(made[::-1])[a.digest] for a in made] == [1, 2, 3]


@pytest.mark.parametrize('query, noted', [('SELECT text FROM mail', True), ("SELECT text FROM mail WHERE who = 'Ann Loom'", False),
                                          ('SELECT text FROM mail WHERE telephone < 13300000243', False), ('SELECT text FROM mail -- of Ann Loom', False)])
def test_no_version_holds_what_a_query_quotes(tmp_path, monkeypatch, query, noted):
    import sqlite3
    from enterprise_lm.data.concept_library import build_library
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect('shop.db') as shop:
        shop.execute('CREATE TABLE mail (text, who, telephone)')
        shop.executemany('INSERT INTO mail VALUES (?, ?, ?)', [(f'The garden lamp number {n} is dark', 'Ann Loom', n) for n in range(9)])
    shop.close()
    made = build_library(f'sqlite:///shop.db#{query}', 'shop', 2, tagger=None, root=tmp_path/'root', settings=get_settings(tmp_path))
    (how,) = made.measurements['built'].values()
    assert how.get('place') == (f'sqlite:///shop.db#{query}' if noted else None)
    assert noted or not any(secret in path.read_bytes() for path in made.path.rglob('*') if path.is_file() for secret in (b'Ann Loom', b'13300000243', b'WHERE'))


@given(st.text(st.one_of(st.characters(exclude_categories=['Cs']), st.sampled_from("@?'\"`$;/#")), max_size=20))
@settings(max_examples=200, deadline=None)
def test_no_address_with_a_user_or_a_password_is_noted(secret):
    from enterprise_lm.data.concept_library import _tells_nobody
    for source in (f'postgresql://ann:{secret}@db/shop#SELECT 1', f'mssql+pyodbc:///?odbc_connect=PWD={secret}#SELECT 1', f"env:SHOP#SELECT text FROM t WHERE who = '{secret}'"):
        try: assert not _tells_nobody(source)
        except UserError: pass   # a # in a password: no query is left


def test_a_table_links_by_labels_and_loses_no_link(tmp_path, monkeypatch):
    from enterprise_lm.data.concept_library import concepts_import
    monkeypatch.chdir(tmp_path)
    table = tmp_path/'hand.csv'
    table.write_text('preferred en,preferred zh,broader,related\nshoe,鞋,,\nboot,靴子,Shoe,\nlace,,,靴子 | shoe\n', encoding='utf-8')
    concepts_import(str(table), 'hand', 'Ann')
    from enterprise_lm.data.concept_versions import open_library
    library = open_library('hand')
    assert [c.label for c in library.broader('boot')] == ['shoe']
    assert {c.label for c in library.related('lace')} == {'boot', 'shoe'}
    table.write_text('preferred en,broader\nclog,shoe\n', encoding='utf-8')   # what the library has already may be named too
    concepts_import(str(table), 'hand', 'Ann')
    assert [c.label for c in open_library('hand').broader('clog')] == ['shoe']
    for wrong in ('shoo', 'c-0123456789ab', 'sandal'):
        table.write_text(f'preferred en,broader\nmule,shoe\nsandal,{wrong}\n', encoding='utf-8')
        with pytest.raises(UserError, match=f"hand.csv, line 3: column `broader` holds '{wrong}'"): concepts_import(str(table), 'hand', 'Ann')
    assert not open_library('hand').lookup('mule')
