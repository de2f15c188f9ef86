"Models keep their answers across processes, their files hold no pickle, and a tiny one learns eight lines by heart."
import json, pickletools, subprocess, sys, zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from enterprise_lm.core.errors import UserError
from enterprise_lm.models.catalogue import FAMILIES, build, parameter_count, config
from enterprise_lm.models.classifier import Classifier, MajorityClassifier
from enterprise_lm.models.family import families, load_model, save_model
from enterprise_lm.models.ngram import NgramLanguageModel
from enterprise_lm.models.tfidf import TfidfClassifier, choose_tfidf
from enterprise_lm.models.tokenizer import train_tokenizer
from enterprise_lm.models.transformer import TransformerClassifier, TransformerLanguageModel, padded, windows

LINES = ['Where is my order?', 'Cancel my order, please.', 'The lamp does not turn on.', 'I want my money back.',
         '我的订单在哪里？', '请取消订单。', '灯打不开了。', '我要退款。']
LABELS = ['status', 'cancel', 'lamp', 'refund'] * 2
HOSTILE = ['', ' ', '\0', '\ud800', '</s><mask>', '👩‍👩‍👧', 'שלום', 'a' * 999, '猫' * 999, '\u200b']


@pytest.fixture(scope='module')
def tokenizers(): return dict(gpt2=train_tokenizer(LINES, 'bpe', 400), bert=train_tokenizer(LINES, 'wordpiece', 700),
                              roberta=train_tokenizer(LINES, 'bpe', 400, objective='masked'))


@pytest.fixture(scope='module')
def models(tokenizers):
    made = {f'{f}-classify': TransformerClassifier(*build(f, 'classification', tokenizers[f], labels=sorted(set(LABELS)), max_length=32)) for f in FAMILIES}
    made |= {f'{f}-{tasks[0]}': TransformerLanguageModel(*build(f, tasks[0], tokenizers[f], max_length=32)) for f, tasks in FAMILIES.items()}
    made['majority'] = MajorityClassifier().fit(LINES, LABELS)
    made['tfidf'] = TfidfClassifier(min_df=1).fit(LINES, LABELS)
    made['ngram'] = NgramLanguageModel(3, 'word').fit(LINES * 3)
    return made


def answers(model, texts): return model.predict_proba(texts) if isinstance(model, Classifier) else model.log_prob(texts)


def is_pickle(data):
    "Does the start of `data` read as a pickle that goes beyond what JSON or text happens to look like?"
    if data[:1] != b'\x80': return False
    try: next(pickletools.genops(data)); return True
    except Exception: return False


NAMES = [*[f'{f}-classify' for f in FAMILIES], 'gpt2-causal', 'bert-masked', 'roberta-masked', 'majority', 'tfidf', 'ngram']


@pytest.fixture(scope='module')
def saved(models, tmp_path_factory):
    "Every model saved twice, and the answers another process gave from the first copy."
    root = tmp_path_factory.mktemp('models')
    for name, model in models.items():
        for copy in ('a', 'b'): save_model(root/copy/name, model, dict(recipe=name))
    (root/'lines.json').write_text(json.dumps(LINES), encoding='utf-8')
    code = '''
import json, sys, numpy as np, torch
from pathlib import Path
def refuse(*a, **k): raise AssertionError('torch.load was called')
torch.load = refuse
from enterprise_lm.models.family import load_model
root = Path(sys.argv[1]); lines = json.loads((root/'lines.json').read_text(encoding='utf-8'))
for folder in sorted((root/'a').iterdir()):
    model = load_model(folder)
    np.save(root/f'{folder.name}.npy', (model.predict_proba if hasattr(model, 'predict_proba') else model.log_prob)(lines), allow_pickle=False)
'''
    done = subprocess.run([sys.executable, '-c', code, str(root)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return root


@pytest.mark.parametrize('name', NAMES)
def test_another_process_gives_the_same_answers(saved, models, name):
    there, here = np.load(saved/f'{name}.npy', allow_pickle=False), answers(models[name], LINES)
    if name in ('majority', 'tfidf', 'ngram'): assert (there == here).all()
    else: np.testing.assert_allclose(there, here, rtol=0, atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_files_are_deterministic_and_hold_no_pickle(saved, name):
    files = sorted(p for p in (saved/'a'/name).rglob('*') if p.is_file())
    assert {p.name for p in files} >= {'model.json'}
    for path in files:
        data = path.read_bytes()
        assert data == (saved/'b'/path.relative_to(saved/'a')).read_bytes(), path.name
        assert path.suffix in ('.json', '.safetensors', '.txt', '.jinja'), path.name
        assert not zipfile.is_zipfile(path) and not is_pickle(data), path.name


def test_transformers_reads_the_folder_alone(saved):
    code = '''
import sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model, tokenizer = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]), AutoTokenizer.from_pretrained(sys.argv[1])
model(**tokenizer(['Where is my order?'], return_tensors='pt', return_token_type_ids=False))
assert model.config.id2label == {0: 'cancel', 1: 'lamp', 2: 'refund', 3: 'status'}
assert not [m for m in sys.modules if m.startswith('enterprise_lm')]
'''
    done = subprocess.run([sys.executable, '-c', code, str(saved/'a'/'bert-classify')], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize('name', [n for n in NAMES if 'masked' not in n])
def test_hostile_texts_get_an_answer(models, name):
    texts = [t for t in HOSTILE if name != 'ngram' or t != '\ud800']
    found = answers(models[name], texts)
    assert np.isfinite(found).all()
    if found.ndim == 2: np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)
    assert len(answers(models[name], [])) == 0


@pytest.mark.parametrize('name', ['bert-classify', 'gpt2-classify', 'gpt2-causal', 'roberta-masked', 'tfidf'])
def test_a_row_does_not_depend_on_its_batch(models, name):
    together, order = answers(models[name], LINES), [3, 1, 0, 2, 7, 6, 5, 4]
    np.testing.assert_allclose(together, np.concatenate([answers(models[name], [l]) for l in LINES]), atol=1e-4)
    np.testing.assert_allclose(answers(models[name], [LINES[i] for i in order]), together[order], atol=1e-4)


def learn(model, ids, labels=None, steps=60):
    batch, optimizer = padded(ids, 0), torch.optim.AdamW(model.train().parameters(), lr=3e-3)
    for _ in range(steps):
        logits = model(**batch).logits
        if labels is None: logits, targets = logits[:, :-1].flatten(0, 1), batch['input_ids'].masked_fill(batch['attention_mask'] == 0, -100)[:, 1:].flatten()
        else: targets = torch.tensor(labels)
        loss = torch.nn.functional.cross_entropy(logits, targets)
        loss.backward(); optimizer.step(); optimizer.zero_grad()
    return model.eval()


@pytest.mark.parametrize('family', list(FAMILIES))
def test_a_tiny_classifier_learns_eight_lines(tokenizers, family):
    torch.manual_seed(0)
    names, tokenizer = sorted(set(LABELS)), tokenizers[family]
    model, _ = build(family, 'classification', tokenizer, labels=names, max_length=32)
    classifier = TransformerClassifier(learn(model, tokenizer(LINES)['input_ids'], [names.index(l) for l in LABELS]), tokenizer)
    assert [l for l, _ in classifier.predict(LINES)] == LABELS


def test_a_tiny_gpt_learns_eight_lines(tokenizers, tmp_path):
    torch.manual_seed(0)
    tokenizer = tokenizers['gpt2']
    net, _ = build('gpt2', 'causal', tokenizer, max_length=32)
    before = TransformerLanguageModel(net, tokenizer).perplexity(LINES)['bits_per_byte']
    model = TransformerLanguageModel(learn(net, [[*i, tokenizer.eos_token_id] for i in tokenizer(LINES)['input_ids']], steps=100), tokenizer)
    assert model.perplexity(LINES)['bits_per_byte'] < .3 < 2 < before
    assert model.generate(['Cancel my order'], temperature=0) == [', please.']
    assert model.generate(['Cancel my order'], temperature=0, stop='ease') == [', pl']
    sampled = [model.generate(['The '], temperature=3., seed=s, max_new_tokens=12)[0] for s in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2]
    assert ''.join(model.stream('The ', temperature=3., seed=1, max_new_tokens=12)) == sampled[0]
    save_model(tmp_path, model)
    assert load_model(tmp_path).generate(['The '], temperature=3., seed=1, max_new_tokens=12)[0] == sampled[0]


def test_each_token_of_a_long_text_is_scored_once():
    for length in (1, 2, 7, 8, 9, 100, 1001):
        for size in (2, 3, 8, 64):
            found = windows(length, size)
            assert [i for _, stop, first in found for i in range(first, stop)] == list(range(1, length))
            assert all(0 <= start < first and stop - start <= size for start, stop, first in found if stop > first)


def test_the_cache_changes_nothing_also_beyond_the_window(models):
    model, seen = models['gpt2-causal'], []
    steps = model.steps('')
    p = next(steps)
    for token in range(10, 60):
        p = steps.send(token)
        seen.append(p)
        assert np.isfinite(p).all() and abs(p.sum() - 1) < 1e-6
    fresh = model.model(input_ids=torch.tensor([[model.begin, *range(10, 40)]])).logits[0, -1].double().softmax(-1).detach().numpy()
    np.testing.assert_allclose(seen[29], fresh, atol=1e-6)


def test_pickled_weights_and_unknown_families_are_refused(saved, tmp_path):
    (tmp_path/'config.json').write_text('{"architectures": ["BertForMaskedLM"], "model_type": "bert"}')
    (tmp_path/'pytorch_model.bin').write_bytes(b'\x80\x04.')
    with pytest.raises(UserError, match='pickled ones are not loaded'): load_model(tmp_path)
    with pytest.raises(UserError, match='pickled ones are not loaded'): build(str(tmp_path), 'masked')
    with pytest.raises(UserError, match='unknown family `tfdif`.*did you mean `tfidf`'):
        (tmp_path/'model.json').write_text('{"family": "tfdif"}'); load_model(tmp_path)
    with pytest.raises(UserError, match='neither a family'): build('no-such-model', 'causal')
    assert set(families()) >= {'majority', 'tfidf', 'ngram', 'transformer-classifier', 'transformer-language-model'}


def test_a_hub_name_is_not_asked_for_offline(monkeypatch):
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(UserError, match='cannot be loaded'): build('nobody/no-such-model', 'causal')


def test_published_sizes():
    assert parameter_count(config('gpt2', 'base', 50257, 1024)) == 124_439_808
    assert parameter_count(config('bert', 'base', 30522, 512), 'classification') == 109_483_778
    assert parameter_count(config('roberta', 'base', 50265, 512, pad_token_id=1, max_position_embeddings=514), 'masked') == 124_697_433


def test_choice_fits_and_two_labels_do():
    texts, labels = LINES * 3, ['order', 'order', 'lamp', 'lamp'] * 6
    options, table = choose_tfidf(texts, labels, LINES, labels[:8])
    model = TfidfClassifier(**options).fit(texts, labels)
    assert [l for l, _ in model.predict(LINES)] == labels[:8] and len(table) >= 6
    shuffled = [5, 2, 7, 0, 1, 6, 3, 4]
    again = TfidfClassifier(**options).fit(texts, labels)
    assert (again.predict_proba(LINES) == model.predict_proba(LINES)).all()
    np.testing.assert_array_equal(model.predict_proba([LINES[i] for i in shuffled]), model.predict_proba(LINES)[shuffled])
