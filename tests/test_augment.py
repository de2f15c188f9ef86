"""Augmentation: nothing held back is touched, nothing protected is changed, and the same rows come out in every process."""
import json, os, subprocess, sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from enterprise_lm.core.errors import UserError
from enterprise_lm.data.augment import AugmentPolicy, Augmenter, augment_rows, augment_text, build_operators, default_policy, read_operators
from enterprise_lm.data.augment_corpus import augment_corpus
from enterprise_lm.data.augment_file import augment_file
from enterprise_lm.data.corpus import Corpus, prepare
from enterprise_lm.data.counterfactual import counterfactual_gap, swap_terms
from enterprise_lm.data.edits import Delete, Insert, Replace, Swap, is_negation, protected_parts
from enterprise_lm.data.noise import KeyboardNoise, PinyinNoise, homophones
from enterprise_lm.data.read import read_rows
from enterprise_lm.data.rewrites import BackTranslate, CountFiller, MaskedReplace, masked_filler
from enterprise_lm.data.split import split, text_key
from enterprise_lm.data.synonyms import find_synonyms, own_synonyms, read_synonyms
from enterprise_lm.data.word_vectors import WordVectors
from enterprise_lm.data.words import Segmenter, spans

operators = [Delete(.3), Replace(.3), Insert(.3), Swap(.3), KeyboardNoise(.3), PinyinNoise(.3)]
texts = st.text(st.one_of(st.characters(exclude_categories=['Cs']), st.sampled_from("the order is NOT my parcel, please 不我的订单退款没有[EMAIL_1]{x}<P> \n\t@.-'’12٣")), max_size=120)


@pytest.mark.parametrize('operator', operators, ids=lambda o: o.name)
@given(text=texts, seed=st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_any_text_keeps_what_is_protected(operator, text, seed):
    changed = operator(text, Random(seed))
    assert changed == operator(text, Random(seed))
    assert protected_parts(changed) == protected_parts(text) or operator.name == 'swap' and sorted(protected_parts(changed)) == sorted(protected_parts(text))
    before, after = (Counter(t[a:b].lower() for a, b in spans(t) if is_negation(t[a:b])) for t in (text, changed))
    assert not before - after
    assert changed.strip() or not text.strip()


@given(text=texts)
@settings(max_examples=150, deadline=None)
def test_the_words_that_are_left_stand_in_the_text(text):
    for segmenter in (Segmenter(), Segmenter('jieba')):
        found = [text[a:b] for a, b in spans(text, segmenter)]
        assert found == segmenter([text])[0]


@pytest.mark.parametrize('text', ['', ' ', '🙂', 'שלום עולם', '[EMAIL_1]', 'BL-48213', '不', 'a', '。', '\n', 'x' * 100_000, '灯' * 20_000, 'ไม่มีช่องว่าง'])
def test_odd_texts_pass_every_operator(text):
    for operator in operators: assert isinstance(operator(text, Random(1)), str)
    copies, _ = augment_text(text, 'row', tuple(operators), 2)
    assert all(new != text and new.strip() for _, new in copies)


def test_punctuation_spaces_and_case_survive():
    text = 'Where  is my parcel, please?\nORDER BL-48213 – mail [EMAIL_1].'
    for seed in range(40):
        assert [c for c in Replace(.5)(text, Random(seed)) if not (c.isalnum() or c == ' ')] == [c for c in text if not (c.isalnum() or c == ' ')]
        assert '  ' in Swap(.5)(text, Random(seed)) and Replace(1.)(text, Random(seed)).split('\n')[1].split()[0].isupper()


def test_no_copy_equals_its_original_or_another_copy():
    rows = read_rows('sample://support').table.to_pylist()[::7]
    for policy in (AugmentPolicy(), default_policy('typing', copies=3), default_policy('fairness')):
        made, report = augment_rows(rows, policy)
        by = {}
        for r in made: by.setdefault(r['id'].split('+a')[0], []).append(r['text'])
        assert all(len(set(t)) == len(t) for t in by.values()) and len(by) == len(rows) == report['rows']
        assert report['added'] == len(made) - len(rows) and report['unchanged'] == sum(len(t) == 1 for t in by.values())
        assert all(r['label'] and r['source'] for r in made)


script = '''import json, sys
from enterprise_lm.data.augment import AugmentPolicy, augment_rows
from enterprise_lm.data.read import read_rows
rows = read_rows('sample://support').table.to_pylist()[:60] + read_rows('sample://support?language=zh').table.to_pylist()[:60]
if sys.argv[1] == 'back': rows = rows[::-1]
made = augment_rows(rows, AugmentPolicy(segmenter='jieba'))[0]
print(json.dumps(sorted((r['id'], r['text']) for r in made)), 'torch' in sys.modules)'''


def test_processes_and_order_do_not_matter(tmp_path):
    def run(order, seed): return subprocess.run([sys.executable, '-c', script, order], env=dict(os.environ, PYTHONHASHSEED=seed, PYTHONPATH=str(Path(__file__).parents[1])), capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    first, second = run('on', '1'), run('back', '77')
    assert first == second and first.strip().endswith('False')


def test_only_the_training_side_changes(tmp_path):
    made = prepare('sample://support', root=tmp_path)
    more = augment_corpus(made, AugmentPolicy(copies=2), root=tmp_path)
    old, new = Corpus.load(made), Corpus.load(more)
    for name in old.artifact.files:
        if name.startswith(('validation', 'test', 'golden', 'rejected', 'overlap')): assert new.artifact.file(name).read_bytes() == old.artifact.file(name).read_bytes()
    assert new['train'].texts[0] == old['train'].texts[0] and set(old['train'].ids) <= set(new['train'].ids) and not more.verify()
    held = {text_key(t) for s in ('validation', 'test') for t in new[s].texts}
    assert not held & {text_key(t) for t, i in zip(new['train'].texts, new['train'].ids) if '+a' in i}
    lines = [json.loads(l) for l in more.file('augmented.jsonl').read_text(encoding='utf-8').splitlines()]
    assert len(lines) == new.info['augmented']['added'] + new.info['augmented']['held'] and {l['original'] for l in lines} <= set(old['train'].ids)
    with pytest.raises(UserError, match='augmented already'): augment_corpus(more, root=tmp_path)


def test_a_copy_that_repeats_a_held_text_is_left_out(tmp_path):
    rows = [dict(id=f'r{i}', text=f'{a} {b} lamp', label='a') for i, (a, b) in enumerate((x, y) for x in 'red blue green old'.split() for y in 'big small'.split())]
    held = [dict(id=f't{i}', text=t, label='a') for i, t in enumerate(['big lamp', 'red lamp', 'blue lamp', 'old big', 'small lamp', 'green lamp', 'old lamp'])]
    made = prepare(rows, test=held, name='held', root=tmp_path)
    new = Corpus.load(augment_corpus(made, AugmentPolicy((('delete', .3),), copies=3), root=tmp_path))
    assert new.info['augmented']['held'] > 0 and not {text_key(t) for t in new['train'].texts} & {text_key(r['text']) for r in held}


def test_groups_keep_copies_with_their_originals():
    rows = [dict(id=f'r{i}', text=f'my parcel number {i} is late again, please help', subject='s-' + f'{i % 20:016x}') for i in range(100)]
    made, _ = augment_rows(rows, AugmentPolicy(copies=2))
    sides = split([r['text'] for r in made], groups=[r['group'] for r in made])
    where = {}
    for r, side in zip(made, sides): where.setdefault(r['id'].split('+a')[0], set()).add(side); where.setdefault(r['subject'], set()).add(side)
    assert all(len(s) == 1 for s in where.values())


@pytest.mark.parametrize('name', ['test.csv', 'dev.jsonl', 'my-validation-set.csv', 'golden.csv', 'val.csv', 'TEST_en.csv'])
def test_files_that_look_held_back_are_refused(tmp_path, name):
    lines = 'text,label\nMy parcel is late,a\n请问怎么退款,b\n' if name.endswith('csv') else '{"text": "My parcel is late"}\n'
    (tmp_path/name).write_text(lines, encoding='utf-8')
    with pytest.raises(UserError, match='held back'): augment_file(tmp_path/name, tmp_path/'out.csv')
    assert not (tmp_path/'out.csv').exists()
    assert augment_file(tmp_path/name, tmp_path/'out.csv', force=True)['added'] > 0
    with pytest.raises(UserError, match='only training'): augment_file(tmp_path/name, tmp_path/'out.csv', force=True, split='validation')


def test_every_output_format_says_the_same(tmp_path):
    found = []
    for ending in ('csv', 'tsv', 'jsonl', 'parquet'):
        answer = augment_file('sample://support?language=zh', tmp_path/f'more.{ending}', copies=1)
        json.dumps(answer)
        found.append([(r['id'], r['text'], r['label'], r['group']) for r in read_rows(tmp_path/f'more.{ending}').table.to_pylist()])
    assert found[0] == found[1] == found[2] == found[3] and len(found[0]) == answer['rows'] + answer['added']
    assert sorted(p.name for p in tmp_path.iterdir()) == ['more.csv', 'more.jsonl', 'more.parquet', 'more.tsv']


def test_rejected_rows_are_kept_and_a_folder_with_a_test_file_is_refused(tmp_path):
    (tmp_path/'data').mkdir()
    (tmp_path/'data'/'train.jsonl').write_text('{"text": "please help with my parcel", "label": "a"}\nbroken\n{"text": "", "label": "b"}\n')
    answer = augment_file(tmp_path/'data'/'train.jsonl', tmp_path/'out.jsonl')
    assert answer['rejected'] == 2 and len((tmp_path/'out.jsonl.rejected.jsonl').read_text().splitlines()) == 2
    (tmp_path/'data'/'test.jsonl').write_text('{"text": "held", "label": "a"}\n')
    with pytest.raises(UserError, match='held back'): augment_file(tmp_path/'data', tmp_path/'again.jsonl')
    for bad in ('out.docx', 'nowhere/out.csv'):
        with pytest.raises(UserError): augment_file(tmp_path/'data'/'train.jsonl', tmp_path/bad)


def test_policies_say_what_is_wrong():
    for call in (lambda: AugmentPolicy(()), lambda: AugmentPolicy(copies=0), lambda: AugmentPolicy((('fly', .1),)), lambda: default_policy('answer'), lambda: default_policy('clasify'),
                 lambda: read_operators('swap:x'), lambda: build_operators(AugmentPolicy((('back_translation', 1.),))), lambda: augment_rows([dict(label='a')], AugmentPolicy()),
                 lambda: augment_rows([], AugmentPolicy(), split='golden'), lambda: Segmenter('list', '/none/there')(['灯'])):
        with pytest.raises(UserError) as error: call()
        assert '\n' not in str(error.value)
    assert augment_rows([], AugmentPolicy())[1]['rows'] == 0


def test_augmenter_can_travel_to_other_processes():
    import pickle
    augmenter = Augmenter(AugmentPolicy(), build_operators(AugmentPolicy()))
    batch = dict(id=['1', '2'], text=['please help with my parcel', '请问怎么退款'])
    assert pickle.loads(pickle.dumps(augmenter))(batch) == augmenter(batch) and batch['id'] == ['1', '2']


def test_the_sounds_are_right():
    pinyin = pytest.importorskip('pypinyin')
    say = lambda c: {s.replace('ü', 'v') for s in pinyin.pinyin(c, style=pinyin.Style.NORMAL, heteronym=True)[0]}
    for character, others in homophones().items(): assert all(say(character) & say(o) for o in others), character


@given(text=texts)
@settings(max_examples=150, deadline=None)
def test_swapping_terms_leaves_the_rest(text):
    once = swap_terms(text, ('gender', 'age', 'religion', 'origin', 'ability'))
    assert protected_parts(once) == protected_parts(text)


def test_swaps():
    pairs = {'He said his wife called.': 'She said her husband called.', '其他男生和她们': '其他女生和他们', '吉他是她的': '吉他是他的', 'I saw her.': 'I saw him.', 'The theme': 'The theme',
             'boy@example.org': 'boy@example.org', '王先生您好': '王女士您好', '王女士您好': '王先生您好', 'MRS Li': 'MR Li', '男女老少': '男女老少', 'https://example.org/his': 'https://example.org/his'}
    assert {t: swap_terms(t) for t in pairs} == pairs
    assert counterfactual_gap(lambda t: [[.5, .5]] * len(t), ['no terms here'])['gap'] is None


def test_a_masked_model_from_the_catalogue_fills_in():
    from enterprise_lm.models.catalogue import build
    from enterprise_lm.models.tokenizer import train_tokenizer
    rows = [r['text'] for r in read_rows('sample://support?language=en').table.to_pylist()]
    model, tokenizer = build('bert', 'masked', train_tokenizer(rows, 'wordpiece', 800), size='nano')
    fill = masked_filler(model, tokenizer)
    assert len(fill('My ', ' is dark', 3)) == 3
    changed = [MaskedReplace(fill, .2)(t, Random(i)) for i, t in enumerate(rows[:20])]
    assert sum(a != b for a, b in zip(changed, rows)) > 15 and all(protected_parts(a) == protected_parts(b) for a, b in zip(changed, rows))


def test_vectors_and_lists(tmp_path):
    rows = [r['text'] for r in read_rows('sample://help').table.to_pylist()]
    vectors = WordVectors.learn(rows)
    vectors.save(tmp_path/'v')
    assert WordVectors.load(tmp_path/'v').nearest('order') == vectors.nearest('order') and sorted(p.name for p in (tmp_path/'v').iterdir()) == ['vectors.safetensors', 'words.json']
    for content in (b'alone\n', b'\xff\xfe\x00', b''):
        (tmp_path/'bad.txt').write_bytes(content)
        with pytest.raises(UserError, match='bad.txt'): read_synonyms(tmp_path/'bad.txt')
    with pytest.raises(UserError): WordVectors.learn(['one two'])
    with pytest.raises(UserError): WordVectors.load(tmp_path)
