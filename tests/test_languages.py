"""No language is mixed in silently: every text gets one, offline, and a model refuses a corpus that shares none with it."""
import json, pickle, subprocess, sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enterprise_lm.core.artifact import draft
from enterprise_lm.core.errors import UserError
from enterprise_lm.data.languages import Languages, check_languages, chinese_script, declared_languages, identify

odd = ['', '\ud83d', '\x00', '42', '你', 'の', '가', 'ж', 'і', 'a', 'é', 'ł', 'ب', 'ש', 'ก', 'α', '😀', '\u0301', ' ', '<b>', 'a@b.c', 'http://x', '{{name}}', '𠀀', 'İ', 'ß']
text = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(odd), max_size=12).map(''.join))


@settings(max_examples=300, deadline=None)
@given(st.lists(text, max_size=4))
def test_every_text_gets_a_language_and_a_confidence(texts):
    found = identify(texts)
    assert len(found) == len(texts) and found == identify(texts)
    for name, sure in found: assert 2 <= len(name) <= 3 and 0 <= sure <= 1 and (name != 'und' or sure == 0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(text, st.sampled_from([None, '', 'de', 'zh-Hant'])), max_size=5), st.sampled_from([(), ('en', 'zh')]))
def test_a_batch_keeps_rows_and_given_languages(rows, allowed):
    batch = Languages(allowed)({'text': [t for t, _ in rows], 'language': [l for _, l in rows]})
    assert {len(v) for v in batch.values()} == {len(rows)}
    for (_, given_language), language, dropped in zip(rows, batch['language'], batch['dropped']):
        assert language == given_language or not given_language
        assert bool(dropped) == bool(allowed and language != 'und' and language.split('-')[0] not in allowed)


def test_no_letters_no_language(): assert identify(['', '  ', '42', '!!!', '😀', '\ud83d']) == [('und', 0.)] * 6


def test_the_same_answer_in_another_process():
    call = "from enterprise_lm.data.languages import identify; print(identify(['hallo', 'où est mon colis', 'mein Paket', 'Привет', 'مرحبا بك', 'gdzie paczka łódź', '返金']))"
    assert len({subprocess.run([sys.executable, '-c', call], capture_output=True, text=True, check=True).stdout for _ in range(2)}) == 1


def test_ten_megabytes_are_told_by_their_beginning():
    assert [l for l, _ in identify(['the lamp is broken ' * 500_000, '灯坏了' * 1_000_000, '1' * 10_000_000, '<' * 10_000_000, 'a@' * 5_000_000])][:3] == ['en', 'zh', 'und']


def test_traditional_and_simplified_are_one_language():
    assert [chinese_script(t) for t in ('東京', '請問', '请问', 'hello')] == ['zh-Hant', 'zh-Hant', 'zh-Hans', 'zh']
    assert check_languages(['zh-Hant'], ['zh-Hans']) == ''
    assert pickle.loads(pickle.dumps(Languages(('en',)))) == Languages(('en',))
    with pytest.raises(UserError, match='ISO 639'): Languages(('English',))


def made(kind, root, files, **more):
    with draft(kind, kind, root=root, **more) as d:
        for name, content in files.items(): (d.path/name).write_text(json.dumps(content))
    return d.artifact


def test_a_model_knows_its_languages_from_manifest_or_corpus(tmp_path):
    corpus = made('corpus', tmp_path, {'corpus.json': dict(splits=dict(train=dict(languages={'zh': 7}), test=dict(languages={'en': 1})))})
    assert declared_languages(made('model', tmp_path, {}, parameters=dict(languages={'en': 3}), parents=[corpus])) == {'en': 3}
    assert declared_languages(made('model', tmp_path, {}, parents=[corpus])) == {'zh': 7}
    for head, want in (('language: zh', {'zh': 0}), ('language: [en, de]', {'en': 0, 'de': 0}), ('language: {a: [', {}), ('- x', {}), ('language: 5', {})):
        (tmp_path/'README.md').write_text(f'---\n{head}\n---\n# model')
        assert declared_languages(tmp_path) == want
    (tmp_path/'README.md').write_bytes(b'---\nlanguage: \xff\xfe\n---')
    assert declared_languages(tmp_path) == {}


@pytest.fixture(scope='module')
def chinese(tmp_path_factory):
    "A Chinese model, and a Japanese corpus."
    from enterprise_lm.core.settings import get_settings
    from enterprise_lm.data.corpus import prepare
    from enterprise_lm.tasks.task import Recipe
    from enterprise_lm.training.trainer import fit
    root = tmp_path_factory.mktemp('languages')
    corpus = prepare('sample://support?language=zh', root=root)
    model = fit('classify', corpus, Recipe('majority'), name='majority', settings=get_settings(root), root=root)
    places = ['東京です', '大阪でした', 'ここは京都', '名古屋から', '札幌の駅']
    rows = [dict(text=f'注文番号{i}はどこにありますか、{places[i % 5]}', label='abc'[i % 3]) for i in range(60)]
    return root, model, prepare(rows, name='japanese', root=root), rows


def test_evaluation_refuses_a_corpus_in_another_language(chinese):
    from enterprise_lm.evaluation.evaluate import evaluate
    root, model, japanese, _ = chinese
    assert set(declared_languages(model)) == {'zh'}
    with pytest.raises(UserError, match='is in ja and model majority knows zh: they share no language'): evaluate([model], japanese, root=root)


def test_a_batch_job_refuses_a_file_in_another_language(chinese):
    from enterprise_lm.core.settings import get_settings
    from enterprise_lm.serving.batch import predict_file
    root, model, _, rows = chinese
    (root/'japanese.jsonl').write_text('\n'.join(json.dumps(r, ensure_ascii=False) for r in rows), encoding='utf-8')
    with pytest.raises(UserError, match='share no language'): predict_file(model, root/'japanese.jsonl', root/'out.jsonl', settings=get_settings(root))
    assert not (root/'out.jsonl').exists()
    mixed = rows[:20] + [dict(text=f'第{i}号订单什么时候发货，请问我们要等多久？') for i in range(20)]
    (root/'mixed.jsonl').write_text('\n'.join(json.dumps(r, ensure_ascii=False) for r in mixed), encoding='utf-8')
    assert 'has text in ja' in predict_file(model, root/'mixed.jsonl', root/'out.jsonl', settings=get_settings(root))['warnings'][0]


def test_training_refuses_a_checkpoint_for_another_language(chinese, tmp_path):
    from enterprise_lm.core.settings import get_settings
    from enterprise_lm.tasks.task import Recipe
    from enterprise_lm.training.trainer import fit
    root, _, japanese, _ = chinese
    (tmp_path/'README.md').write_text('---\nlanguage: zh\n---\n')
    with pytest.raises(UserError, match='share no language'):
        fit('classify', japanese, Recipe(str(tmp_path)), name='bert', settings=get_settings(root), root=root)
