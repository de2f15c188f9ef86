"""What the tagger promises: the same names from numpy as from torch, any text survived, no torch loaded, unseen names found."""
import hashlib, json, os, subprocess, sys
from importlib.resources import files
from pathlib import Path

import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from enterprise_lm.core.errors import UserError
from enterprise_lm.data.invented import chinese_set, generate
from enterprise_lm.data.samples import sample_records
from enterprise_lm.data.characters import CODE_BITS, marked_codes
from enterprise_lm.data.spans import Span
from enterprise_lm.data.tag_paths import span_figures, tags, types
from enterprise_lm.data.tagger import load_tagger
from enterprise_lm.data.word_lists import second_opinion

shipped = files('enterprise_lm')/'data'/'tagger'


def test_numpy_says_what_torch_says():
    import torch
    from enterprise_lm.models.character_tagger import CharacterTagger
    tagger, network = load_tagger(), CharacterTagger.load(str(shipped)).model
    texts = [r['text'] for r in generate(60, 'mixed', 8)] + ['a', '王', '😀 \ud800 é', '字' * 3000]
    for text, mine in zip(texts, tagger.logits(texts)):
        codes = torch.from_numpy(marked_codes(text, tagger.marks).astype(np.int64))[None]
        with torch.no_grad(): theirs = network(codes, torch.ones_like(codes)).logits[0].numpy()
        assert np.abs(mine - theirs).max() < 1e-4 * max(1, np.abs(theirs).max() / 10)


awkward = st.sampled_from(list('王女士欧阳·, \n\t.-\'"()0９小老姓号路MrsDrA😀\u200b\ud800\u0301İßﬁ') + ['Mrs. ', '北京市朝阳区', 'O’Neill ', '先生'])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(awkward, max_size=40).map(''.join) | st.text(max_size=60), max_size=4))
def test_any_text_gives_spans_within_it(texts):
    found = load_tagger()(texts)
    assert len(found) == len(texts)
    for text, spans in zip(texts, found):
        end = 0
        for s in spans:
            assert end <= s.start < s.end <= len(text) and s.text == text[s.start:s.end] and s.type in types and 0 < s.score <= 1
            end = s.end


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80) | st.lists(awkward, max_size=40).map(''.join))
def test_marks_leave_the_characters_alone(text):
    codes = marked_codes(text, load_tagger().marks)
    assert len(codes) == len(text) and all((c & (1 << CODE_BITS) - 1) == ord(t) and c >> CODE_BITS < 16 for c, t in zip(codes.tolist(), text))


def test_a_text_is_read_alike_alone_in_company_and_far_into_a_book():
    tagger, texts = load_tagger(), [r['text'] for r in chinese_set(40, 3)]
    together = tagger(texts)
    for text, spans in zip(texts, together): assert [(s.start, s.end) for s in tagger([text])[0]] == [(s.start, s.end) for s in spans]
    name = '收件人欧阳若宁,电话改了。'
    for length in (19_790, 19_900, 20_000, 41_000):
        found = tagger(['。' * length + name + '。' * 30_000])[0]
        assert [s.text for s in found] == ['欧阳若宁'], length


def test_no_torch_is_loaded():
    code = '''import sys
from enterprise_lm.data.tagger import load_tagger
load_tagger()(['请联系王芳'])
print([m for m in ('torch', 'pandas', 'faker', 'sklearn') if m in sys.modules])'''
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == '[]'


def test_the_shipped_weights_are_small_and_say_how_they_were_made():
    assert sum(p.stat().st_size for p in Path(str(shipped)).iterdir()) < 1_500_000
    about = load_tagger().about
    assert about['figures']['zh']['PERSON']['f1'] >= .9 and about['figures']['zh']['ADDRESS']['f1'] >= .9 and about['training']


def test_unseen_chinese_names_and_addresses_are_found():
    rows = chinese_set(500, 11)
    figures = span_figures([r['spans'] for r in rows], load_tagger()([r['text'] for r in rows]))
    assert figures['PERSON']['f1'] >= .9 and figures['ADDRESS']['f1'] >= .9


def test_nineteen_of_twenty_marked_spans_of_the_tickets_are_found():
    "Both ends and the kind right, in English and Chinese, by everything there is; the datasheet calls all documents identity numbers."
    from enterprise_lm.data.privacy import Detector
    kinds = set('PERSON ADDRESS EMAIL PHONE ID_NUMBER CARD_NUMBER IBAN DATE_OF_BIRTH IP_ADDRESS USERNAME'.split())
    called = dict(SSN='ID_NUMBER', PASSPORT='ID_NUMBER', DRIVING_LICENCE='ID_NUMBER')
    rows = [r.values for _, records in sample_records('sample://tickets') for r in records]
    found = [{(called.get(s.type, s.type), s.start, s.end) for s in spans} for spans in Detector()([r['text'] for r in rows])]
    wanted = [(s['type'], s['start'], s['end']) in said for r, said in zip(rows, found) for s in r['spans'] if s['type'] in kinds]
    assert len(wanted) > 400 and sum(wanted) / len(wanted) >= .95


@pytest.mark.parametrize('spoil', ['json', 'weights', 'tags', 'nothing'])
def test_a_damaged_tagger_is_refused_in_one_sentence(tmp_path, spoil):
    about = json.loads((shipped/'tagger.json').read_text())
    if spoil == 'tags': about['tags'] = about['tags'][::-1]
    if spoil != 'nothing':
        (tmp_path/'tagger.json').write_text('{' if spoil == 'json' else json.dumps(about))
        (tmp_path/'tagger.safetensors').write_bytes(b'x' * 40 if spoil == 'weights' else (shipped/'tagger.safetensors').read_bytes())
    with pytest.raises(UserError, match=tmp_path.name): load_tagger(tmp_path)


def test_the_same_seed_gives_the_same_texts_in_any_process():
    code = "import json; from enterprise_lm.data.invented import generate; print(json.dumps([generate(40, l, 5) for l in ('en', 'zh', 'mixed')]))"
    digests = set()
    for hashing in ('1', '2'):
        out = subprocess.run([sys.executable, '-c', code], env=dict(os.environ, PYTHONHASHSEED=hashing), capture_output=True, check=True).stdout
        digests.add(hashlib.sha256(out).hexdigest())
    assert len(digests) == 1


def test_no_sentence_or_full_name_of_the_test_side_is_trained_on():
    sides = [{s['text'] for language in ('en', 'zh') for r in generate(1500, language, seed, side, side) for s in r['spans']
              if s['type'] == 'PERSON' and len(s['text']) > 2} for seed, side in ((1, 'train'), (2, 'test'))]
    assert len(sides[0] & sides[1]) / len(sides[1]) < .03, 'names that training sees (one-character given names cannot be kept apart)'


def test_a_tagger_is_trained_by_its_pipeline(run_elm, tmp_path):
    answer = run_elm('run', 'privacy', '-p', 'number=120', '-p', 'validation=10', '-p', 'test=20', '-p', 'channels=8',
                     '-p', 'training={"max_steps": 4, "learning_rate": 0.003}', '--json', folder=tmp_path).answer
    assert answer['ok']
    folder = next((tmp_path/'workspace'/'artifacts'/'tagger').glob('tagger-*'))
    assert json.loads((folder/'tagger.json').read_text())['tags'] == list(tags)
    load_tagger(folder)(['请联系王芳'])


def test_word_lists_bear_any_finding_of_a_network():
    names = dict(given={'Roy'}, surname={'Lang'}, place={'Canada'})
    for kind in ('PERSON', 'LOCATION', 'ORGANISATION'):
        for text in (' ', '\n', '?', '12', 'a b'):
            assert isinstance(second_opinion(text, [Span(0, len(text), kind, text, .6)], np.full(len(text), .5), names), list)


@pytest.mark.parametrize('text', ['DOB: 12 of the month', 'NHS number on request', 'I swapped Russian Rubles for UK pounds', 'Can I change from AUD to GBP?', 'Do you accept SWIFT transfers?', '谢谢大家，欧元触及两个月低点',
    'Please check if everything is okay', 'Some cash was missing at ATM.'])
def test_words_that_name_nobody_are_left_alone(text):
    from enterprise_lm.data.privacy import Detector
    assert not Detector()([text])[0]


def test_a_surname_that_is_an_abbreviation_too_is_a_name():
    from enterprise_lm.data.word_lists import names_nobody
    span = lambda text, kind: Span(0, len(text), kind, text, .9)
    assert not any(names_nobody(t, span(t, k)) for t, k in (('Swift', 'PERSON'), ('Taylor Swift', 'PERSON'), ('WHO', 'ORGANISATION'), ('US', 'LOCATION'), ('Ezra Pound', 'PERSON')))
