"""Tokenizers give back every text, and are the same files wherever they are trained."""
import hashlib, json, os, subprocess, sys
import pytest
from hypothesis import given, settings, strategies as st
from enterprise_lm.models.tokenizer import load_tokenizer, save_tokenizer, special_tokens, train_tokenizer

lines = ['Where is my order?', 'My order 1234 has not arrived, and <pad> is shown!', '## Setup\r\n\tPress the button.',
         '我的订单在哪里？', '请重置台灯，谢谢。', 'שלום', '👍🏽 e\u0301'] * 3
typed = st.sampled_from(special_tokens + ['[CLS]', '[PAD]', '##', '＃', '###a', ' ', '\r\n', '\0', '\u202e', '\ufeff',
                                          '\ufffd', 'Ġ', '👩‍👩‍👧', "n't", ' .', '猫' * 70])
texts = st.lists(st.one_of(st.text(max_size=40), typed), max_size=8).map(''.join)


@pytest.fixture(scope='module', params=['bpe', 'wordpiece'])
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp('tokenizer')
    train_tokenizer(lines, request.param, 700).save_pretrained(folder)
    return load_tokenizer(folder)


@settings(max_examples=200, deadline=None)
@given(text=texts)
def test_any_text_comes_back(tokenizer, text):
    plain = tokenizer(text, add_special_tokens=False)['input_ids']
    assert tokenizer.decode(plain) == text
    assert tokenizer.decode(tokenizer(text)['input_ids'], skip_special_tokens=True) == text
    assert not set(plain) & set(tokenizer.all_special_ids)


@pytest.mark.parametrize('text', ['x' * 100_000, '猫' * 33_333, ' ' * 100_000, 'a\n' * 50_000],
                         ids=['letters', 'characters', 'spaces', 'lines'])
def test_hundred_kilobytes_come_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)['input_ids']) == text


@pytest.mark.parametrize('kind', ['bpe', 'wordpiece'])
def test_same_bytes_in_another_process(kind, tmp_path):
    code = ('import json, sys; from enterprise_lm.models.tokenizer import train_tokenizer\n'
            'train_tokenizer(json.load(sys.stdin), sys.argv[1], 700).save_pretrained(sys.argv[2])')

    def train(name, hash_seed, threads):
        environment = os.environ | dict(PYTHONHASHSEED=hash_seed, RAYON_NUM_THREADS=threads)
        subprocess.run([sys.executable, '-c', code, kind, str(tmp_path/name)], input=json.dumps(lines), text=True,
                       env=environment, check=True)
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path/name).iterdir()}
    assert train('one', '1', '1') == train('two', '2', '4')


@pytest.mark.parametrize('model_type', ['gpt2', 'bert', 'roberta'])
def test_beside_a_model_configuration(tokenizer, model_type, tmp_path):
    from transformers import AutoTokenizer
    tokenizer.save_pretrained(tmp_path)
    (tmp_path/'config.json').write_text(json.dumps(dict(model_type=model_type)))
    found = AutoTokenizer.from_pretrained(tmp_path)
    assert found(lines)['input_ids'] == tokenizer(lines)['input_ids']
    assert found.decode(found('a <mask> ')['input_ids'], skip_special_tokens=True) == 'a <mask> '


def test_artifact_keeps_its_digest(tmp_path):
    saved = [save_tokenizer(train_tokenizer(lines, 'bpe', 400), 'support', texts=lines, root=tmp_path/n) for n in 'ab']
    assert saved[0].digest == saved[1].digest and not saved[0].verify()
    assert load_tokenizer(saved[0])('order')['input_ids'] == load_tokenizer(saved[1].path)('order')['input_ids']
