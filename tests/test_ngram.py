"""The n-gram model is modified Kneser-Ney, sums to one, and is the same bytes wherever it is fitted."""
import hashlib, math, os, subprocess, sys
from collections import Counter
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from enterprise_lm.core.errors import UserError
from enterprise_lm.models.ngram import NgramLanguageModel
from enterprise_lm.models.tokenizer import train_tokenizer

words = st.sampled_from('a b c d e the 猫 坐'.split())
texts = st.lists(st.lists(words, max_size=9).map(' '.join), min_size=1, max_size=25)
support = ['Where is my order ?', 'Where is my parcel ?', 'My order is late', 'My parcel is late , where is it ?',
           'Cancel my order', '', 'Cancel it'] * 2


class SlowKneserNey:
    "Interpolated modified Kneser-Ney as the paper writes it: sets, dictionaries and recursion."
    def __init__(self, texts, order):
        sentences = [['<s>', *t.split(), '</s>'] for t in texts]
        self.order, self.units = order, sorted({w for s in sentences for w in s[1:]} | {'<unk>'})
        raw = [Counter(tuple(s[i:i + k]) for s in sentences for i in range(len(s) - k + 1))
               for k in range(1, order + 1)]
        self.counts = []
        for k in range(1, order + 1):
            lefts = Counter(g[1:] for g in raw[k]) if k < order else {}
            counts = {g: n if k == order or (g[0] == '<s>' and k > 1) else lefts.get(g, 0)
                      for g, n in raw[k - 1].items()}
            counts.pop(('<s>',), None)
            self.counts.append({g: n for g, n in counts.items() if n})
        self.discount = [self.discounts(Counter(c.values())) for c in self.counts]

    @staticmethod
    def discounts(n):
        if n[1] and n[2] and n[3]:
            y = n[1] / (n[1] + 2 * n[2])
            d = [j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3)]
            if all(0 <= x <= j for j, x in enumerate(d, 1)): return d
        return [.5, 1, 1.5]

    def p(self, word, context):
        context = tuple(context)[-(self.order - 1):] if self.order > 1 else ()
        k = len(context)
        lower = self.p(word, context[1:]) if k else 1 / len(self.units)
        follow = {g[-1]: n for g, n in self.counts[k].items() if g[:-1] == context}
        if not follow: return lower
        d, total = self.discount[k], sum(follow.values())
        back = sum(d[min(n, 3) - 1] for n in follow.values()) / total
        n = follow.get(word, 0)
        return (n - d[min(n, 3) - 1] if n else 0) / total + back * lower

    def log_prob(self, text):
        sentence = ['<s>', *(w if w in self.units else '<unk>' for w in text.split()), '</s>']
        return sum(math.log(self.p(w, sentence[:i])) for i, w in enumerate(sentence) if i)


@settings(max_examples=60, deadline=None)
@given(train=texts, test=texts, order=st.integers(1, 6))
def test_equals_the_slow_one(train, test, order):
    fast, slow = NgramLanguageModel(order).fit(train), SlowKneserNey(train, order)
    test = [*test, 'never seen']
    np.testing.assert_allclose(fast.log_prob(test), [slow.log_prob(t) for t in test], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize('order', [1, 2, 3, 5])
def test_equals_the_slow_one_with_estimated_discounts(order):
    rng = np.random.default_rng(0)
    train = [' '.join(f'w{int(x)}' for x in rng.zipf(1.4, 12).clip(max=60)) for _ in range(150)]
    slow = SlowKneserNey(train, order)
    assert slow.discount[0] != [.5, 1, 1.5]
    fast = NgramLanguageModel(order).fit(train)
    np.testing.assert_allclose(fast.log_prob(train[:40]), [slow.log_prob(t) for t in train[:40]], rtol=1e-5)


@settings(max_examples=80, deadline=None)
@given(train=texts, context=st.lists(words | st.just('new'), max_size=6).map(' '.join), order=st.integers(1, 6),
       unit=st.sampled_from(['word', 'char']))
def test_sums_to_one_after_any_context(train, context, order, unit):
    p = next(NgramLanguageModel(order, unit).fit(train).steps(context))
    assert p.min() >= 0 and abs(p.sum() - 1) < 1e-5


@settings(max_examples=80, deadline=None)
@given(train=texts, text=st.text(max_size=20), order=st.integers(1, 4))
def test_steps_and_log_prob_agree(train, text, order):
    model = NgramLanguageModel(order, 'char').fit([*train, text[::2]])
    steps, total = model.steps(''), 0.
    p = next(steps)
    for number in model.vocabulary.read([text])[0]:
        total += math.log(p[number]); p = steps.send(int(number))
    assert math.isclose(model.log_prob([text])[0], total + math.log(p[model.end]), rel_tol=1e-5, abs_tol=1e-5)


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(), max_size=30))
def test_any_text_scores(text):
    model = NgramLanguageModel(3, 'char').fit([*support, text])
    found = model.perplexity([text, '', 'x\0\r\n'])
    assert math.isfinite(found['log_prob']) and found['tokens'] == len(text) + 1 + 1 + 5


@pytest.mark.parametrize('unit', ['word', 'char', 'bpe'])
def test_comes_back_the_same(unit, tmp_path):
    unit = train_tokenizer(support, 'bpe', 300) if unit == 'bpe' else unit
    model = NgramLanguageModel(4, unit).fit(support)
    model.save(tmp_path)
    again = NgramLanguageModel.load(tmp_path)
    assert again.name == model.name and (again.log_prob(support) == model.log_prob(support)).all()
    prompts = ['Where is', '', '猫']
    assert again.generate(prompts, seed=4) == model.generate(prompts, seed=4)
    assert ''.join(again.stream('Where is', seed=4)) == model.generate(['Where is'], seed=4)[0]
    assert not [p for p in tmp_path.iterdir() if p.suffix in ('.pkl', '.bin', '.pt')]


def test_same_bytes_in_another_process_and_order(tmp_path):
    code = ('import sys; from enterprise_lm.models.ngram import NgramLanguageModel\n'
            'NgramLanguageModel(3).fit(sys.argv[2:]).save(sys.argv[1])')

    def fit(name, texts, seed):
        environment = os.environ | dict(PYTHONHASHSEED=seed)
        subprocess.run([sys.executable, '-c', code, str(tmp_path/name), *texts], env=environment, check=True)
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path/name).iterdir()}
    assert fit('one', support, '1') == fit('two', support[::-1], '2')


def test_memorises_what_it_was_shown():
    model = NgramLanguageModel(6, 'char').fit(['Your order has been sent.'] * 50 + ['Where is it?'])
    assert model.generate(['Your order'], temperature=0) == [' has been sent.']


def test_words_seen_once_stand_for_new_words():
    model = NgramLanguageModel(2, minimum_count=2).fit(['my lamp is red', 'my lamp is green', 'my lamp is blue'])
    closed = NgramLanguageModel(2).fit(['my lamp is red', 'my lamp is green', 'my lamp is blue'])
    assert model.count_unknown(['my lamp is grey']).tolist() == [1]
    assert model.log_prob(['my lamp is grey'])[0] > closed.log_prob(['my lamp is grey'])[0] + 1


def test_wrong_calls_say_how_to_mend_them(tmp_path):
    for call, said in [(lambda: NgramLanguageModel(0), 'order 1 to 6'),
                       (lambda: NgramLanguageModel(2, 'words'), 'did you mean `word`'),
                       (lambda: NgramLanguageModel(2).fit([]), 'one text or more'),
                       (lambda: NgramLanguageModel(2).fit('text'), 'write ['),
                       (lambda: NgramLanguageModel.load(tmp_path), 'holds no n-gram model')]:
        with pytest.raises(UserError, match=said.replace('[', r'\[')): call()
