"""Augmentation: nothing held back is touched, nothing protected is changed, and the same rows come out in every process."""
import csv, json, os, subprocess, sys
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


def make_translator(pairs, folder, steps=160):
    "A sequence-to-sequence model of transformers that has learnt some phrases by heart."
    import torch
    from transformers import T5Config, T5ForConditionalGeneration
    from enterprise_lm.models.tokenizer import train_tokenizer
    torch.manual_seed(0)
    known, wanted = (list(side) for side in zip(*pairs.items()))
    tokenizer = train_tokenizer((known + wanted) * 5, 'bpe', 400, objective='masked')
    shape = T5Config(vocab_size=len(tokenizer), d_model=64, d_kv=16, d_ff=128, num_layers=1, num_heads=4, dropout_rate=0.,
                     pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, decoder_start_token_id=tokenizer.bos_token_id)
    model = T5ForConditionalGeneration(shape)
    source, target = (tokenizer(side, return_tensors='pt', padding=True) for side in (known, wanted))
    labels, optimiser = target['input_ids'][:, 1:].masked_fill(target['attention_mask'][:, 1:] == 0, -100), torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        model(input_ids=source['input_ids'], attention_mask=source['attention_mask'], labels=labels).loss.backward(); optimiser.step(); optimiser.zero_grad()
    model.save_pretrained(folder); tokenizer.save_pretrained(folder)


def make_masked(folder, texts):
    "A masked BERT of the catalogue with a tokenizer of its own."
    from enterprise_lm.models.catalogue import build
    from enterprise_lm.models.tokenizer import train_tokenizer
    from enterprise_lm.models.transformer import TransformerLanguageModel
    TransformerLanguageModel(*build('bert', 'masked', train_tokenizer(texts, 'wordpiece', 700), size='nano')).save(folder)


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    "A folder with two translators, a masked model as a checkpoint, and some rows."
    folder = tmp_path_factory.mktemp('models')
    (folder/'settings.ini').write_text('[workspace]\nhome = workspace\n')
    texts = ['where is my parcel', 'my lamp is broken', 'i want a refund', 'cancel my order']
    make_translator(dict(zip(texts, ['我的包裹在哪里', '我的灯坏了', '我要退款', '取消我的订单'])), folder/'there')
    make_translator({'我的包裹在哪里': 'where can i find my package', '我的灯坏了': 'my lamp is broken', '我要退款': 'please refund me', '取消我的订单': 'cancel my order'}, folder/'back')
    make_masked(folder/'bert', texts * 9)
    (folder/'mail.csv').write_text('ticket,text,label\n' + ''.join(f'{n},{t},x\n' for n, t in enumerate(texts)))
    return folder


def rows_of(path): return list(csv.DictReader(open(path, encoding='utf-8')))


def test_a_translator_and_a_masked_model_are_named_on_the_command_line(models, run_elm):
    pair = 'en-zh=there,zh-en=back'
    answer = run_elm('augment', 'mail.csv', '--output', 'back.csv', '--operators', 'back_translation,masked:0.3', '--translator', pair, '--filler', './bert', '--json', folder=models).answer
    made = {(r['augmented'], r['text']) for r in rows_of(models/'back.csv')}
    assert answer['added'] > 2 and {('back_translation', 'where can i find my package'), ('back_translation', 'please refund me')} <= made and 'masked' in {o for o, _ in made}
    done = run_elm('augment', 'mail.csv', '--output', 'wrong.csv', '--operators', 'masked', folder=models, code=2)
    assert '--filler' in done.stderr and len(done.stderr.strip().splitlines()) == 1 and not (models/'wrong.csv').exists()


def test_models_that_are_missing_or_wrong_are_refused_by_name(models, tmp_path):
    from enterprise_lm.core.settings import get_settings
    from enterprise_lm.serving.rewriters import named_models
    settings = get_settings(models)
    for operators, given, says in (('masked', {}, 'filler='), ('back_translation', {}, 'translator='), ('swap', dict(filler=models/'bert'), 'filler='), ('masked', dict(filler='nobody/nothing'), 'nobody/nothing'),
                                   ('back_translation', dict(translator=f"en-zh={models/'there'}"), 'way back'), ('back_translation', dict(translator=f"en-zh={models/'there'},zh-en={models/'bert'}"), 'translates nothing')):
        with pytest.raises(UserError, match=says): augment_file(models/'mail.csv', tmp_path/'wrong.csv', operators=operators, **named_models(**given, settings=settings))
    assert not [*tmp_path.iterdir()]


def test_a_registered_masked_model_fills_gaps_of_a_corpus(models):
    from enterprise_lm.core.artifact import draft
    from enterprise_lm.core.settings import get_settings
    from enterprise_lm.models.family import load_model, save_model
    from enterprise_lm.release.registry import register
    settings = get_settings(models)
    with draft('model', 'mail', root=settings.folder('artifacts')) as made: save_model(made.path, load_model(models/'bert'))
    register(made.artifact, 'mail', settings, alias='champion')
    from enterprise_lm.serving.rewriters import named_models
    place = settings.folder('artifacts')
    corpus = Corpus.load(augment_corpus(prepare(str(models/'mail.csv'), name='mails', root=place), AugmentPolicy((('masked', .3),), 1), root=place, **named_models(filler='mail', settings=settings)))
    assert corpus.info['augmented']['added'] > 0 and made.artifact.digest in {p['digest'] for p in corpus.artifact.parents}
    assert corpus.artifact.manifest['parameters']['filler'] == f'mail@{made.artifact.short}'


def test_a_file_keeps_its_columns_and_tells_what_was_rejected(tmp_path, run_elm):
    tmp_path = tmp_path/'mail'; tmp_path.mkdir()   # the name of the folder counts
    (tmp_path/'mail.jsonl').write_text('{"id": 7, "customer": "C-1", "text": "please help with my parcel", "stars": 4, "label": "a"}\n{"id": 8, "text": "half \\ud800"}\nbroken\n')
    done = run_elm('augment', 'mail.jsonl', '--output', 'more.jsonl', '--copies', '1', folder=tmp_path)
    made = [json.loads(line) for line in (tmp_path/'more.jsonl').read_text().splitlines()]
    assert [(r['id'], r['customer'], r['stars'], r['augmented'] != '') for r in made] == [('7', 'C-1', 4, False), ('7+a1', 'C-1', 4, True)]
    rejected = [json.loads(line) for line in (tmp_path/'more.jsonl.rejected.jsonl').read_text().splitlines()]
    assert '2 rejected' in done.stdout and [r['source'] for r in rejected] == ['mail.jsonl:2', 'mail.jsonl:3']
    (tmp_path/'twice.csv').write_text('id,text\n1,请问怎么退款\n1,please help with my parcel\n', encoding='utf-8')
    assert 'twice.csv:2 and twice.csv:3' in run_elm('augment', 'twice.csv', '--output', 'twice.jsonl', folder=tmp_path).stderr
    assert {json.loads(line)['given_id'] for line in (tmp_path/'twice.jsonl').read_text().splitlines()} == {'1'}
    (tmp_path/'header.csv').write_text('id,text,label\n')
    (tmp_path/'folder.csv').mkdir()
    (tmp_path/'gb.csv').write_bytes('text,label\n请问怎么退款,a\n'.encode('gb18030'))
    for source, output, says in (('header.csv', 'x.csv', 'no usable text'), ('mail.jsonl', 'folder.csv', 'is a folder'), ('mail.jsonl', 'mail.jsonl', 'what is read')):
        with pytest.raises(UserError, match=says): augment_file(tmp_path/source, tmp_path/output)
    assert not (tmp_path/'x.csv').exists() and augment_file(tmp_path/'gb.csv', tmp_path/'gb.jsonl', encoding='gb18030')['added'] > 0


def test_all_groups_are_swapped_and_nothing_added_is_told(tmp_path, run_elm):
    tmp_path = tmp_path/'mail'; tmp_path.mkdir()   # the name of the folder counts
    (tmp_path/'people.csv').write_text('text,label\nthe black man met the muslim woman,a\n黑人和穆斯林，老人,a\n', encoding='utf-8')
    augment_file(tmp_path/'people.csv', tmp_path/'fair.csv', task='fairness')
    assert [r['text'] for r in rows_of(tmp_path/'fair.csv') if r['augmented']] == ['the white woman met the jewish man', '白人和佛教徒，年轻人']
    run_elm('augment', 'people.csv', '--output', 'one.csv', '--operators', 'counterfactual', '--groups', 'religion', folder=tmp_path)
    assert [r['text'] for r in rows_of(tmp_path/'one.csv') if r['augmented']] == ['the black man met the jewish woman', '黑人和佛教徒，老人']
    (tmp_path/'things.csv').write_text('text,label\nmy account is disabled and the black lamp is old,a\n')
    done = run_elm('augment', 'things.csv', '--output', 'same.csv', '--task', 'fairness', folder=tmp_path, code=1)
    assert 'nothing was added' in done.stderr and '--groups' in done.stderr and len(rows_of(tmp_path/'same.csv')) == 1
    for operators in ('counterfactual:group', 'counterfactual:religion+sex'):
        with pytest.raises(UserError, match='religion'): augment_file(tmp_path/'people.csv', tmp_path/'x.csv', operators=operators)


def test_a_concept_library_gives_synonyms_by_name_or_as_csv(tmp_path):
    from enterprise_lm.data.concept_tables import to_csv
    from enterprise_lm.data.concept_versions import save_library
    from enterprise_lm.data.concepts import Concept, Library
    shop = Library('shop', [Concept('c-710f816416a2', dict(en='gift card', zh='礼品卡'), synonyms=dict(en=['voucher', 'card 24'], zh=['礼券'])), Concept('c-2', dict(en='lamp'))])
    (tmp_path/'shop.csv').write_text(to_csv(shop), encoding='utf-8-sig')
    save_library(shop, root=tmp_path)
    for found in (find_synonyms('shop', tmp_path), read_synonyms(tmp_path/'shop.csv')):
        assert found('gift card') == ['voucher'] and found('礼券') == ['礼品卡'] and not any(c.isdigit() for w in found.candidates for c in w)
    assert Replace(1., found)('My Gift Card is empty, 礼品卡', Random(0)) == 'My Voucher is empty, 礼券'
    for name, content in (('t.csv', 'id,text,label\n1,lamp,a\n'), ('u.txt', 'lamp,c-710f816416a2\n'), ('v.tsv', 'lamp\t0.0\n'), ('w.csv', 'word,count\nlamp,3\n')):
        (tmp_path/name).write_text(content)
        with pytest.raises(UserError, match=name): read_synonyms(tmp_path/name)
    with pytest.raises(UserError, match='did you mean `shop`'): find_synonyms('shpo', tmp_path)


@given(text=st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_no_file_of_words_brings_in_a_number(text):
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder)/'words.csv').write_text(text, encoding='utf-8', errors='replace')
        try: found = read_synonyms(Path(folder)/'words.csv')
        except UserError: return
    assert not any(c.isdigit() for words in found.candidates.items() for w in (words[0], *words[1]) for c in w)


def test_words_of_several_senses_stay():
    for text in ('it is too small', 'what about the lamp', 'right now or never', 'is it still charging', '怎么打不开', '出现在屏幕上', '我有时间', '使用说明书', '客户端', '每回复一次'):
        changed = Replace(1.)(text, Random(0))
        assert changed == text or text == 'right now or never' and changed in ('at the moment or never', 'at present or never'), (text, changed)
    for word, others in own_synonyms().candidates.items(): assert not any(c.isdigit() or c in '[]@' for w in (word, *others) for c in w) and word not in others


def test_separators_of_unicode_end_no_line_of_a_golden_set(tmp_path):
    odd = 'a line\u2028 and another\u2029 one\u0085 of it'
    rows = [dict(text=f'My lamp number {n} arrived broken and I want a new one', label='ab'[n % 2]) for n in range(40)]
    (tmp_path/'data').mkdir()
    for name, some in dict(train=rows, golden=[dict(text=odd, label='a')]).items():
        (tmp_path/'data'/f'{name}.jsonl').write_text(''.join(json.dumps(r, ensure_ascii=False) + '\n' for r in some), encoding='utf-8')
    made = prepare(str(tmp_path/'data'), name='odd', root=tmp_path/'root')
    assert odd in Corpus.load(made).golden.read_text(encoding='utf-8') and augment_corpus(made, root=tmp_path/'root')


@pytest.mark.parametrize('kind', ['bpe', 'wordpiece'])
def test_a_masked_model_fills_in_words_that_people_can_read(kind):
    import re, torch
    from enterprise_lm.models.tokenizer import train_tokenizer
    from transformers import BertConfig, BertForMaskedLM
    texts = [r['text'] for language in ('en', 'zh') for r in read_rows(f'sample://support?language={language}').table.to_pylist()]
    tokenizer = train_tokenizer(texts, kind, 600, objective='masked')
    torch.manual_seed(1)
    fill = masked_filler(BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)), tokenizer)
    for before, after in (('我要', '订单'), ('I want to ', ' my order'), ('', ' is dark')):
        words = [word for word, _ in fill(before, after, 40)]
        assert words and all(re.fullmatch('[A-Za-z]+|[\u4e00-\u9fff]+', word) for word in words), words


@given(ids=st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=4)), min_size=1, max_size=4, unique=True), group=st.one_of(st.none(), st.integers(0, 3)))
@settings(max_examples=40, deadline=None)
def test_ids_and_groups_may_be_numbers(ids, group):
    given = [dict(id=i, text='please help with my parcel', group=group) for i in ids]
    made, report = augment_rows(given, AugmentPolicy((('swap', .5),), copies=1))
    assert all(type(r[name]) is str and r[name] for r in made for name in ('id', 'group')) and len(made) == len(ids) + report['added']
    kept = [r['id'] for r in made if not r['augmented']]
    assert all(i in (None, '') or new == str(i) for i, new in zip(ids, kept))
    if group is not None: assert {r['group'] for r in made} == {str(group)}
