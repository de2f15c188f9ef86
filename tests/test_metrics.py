"Every metric equals a second implementation on random input, and survives the dull cases."
import subprocess, sys, warnings
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from sklearn import metrics as sk
from enterprise_lm.core.errors import UserError
from enterprise_lm.tasks import metrics as m

@st.composite
def classified(draw):
    "Labels, probabilities with ties, and names, some of which never occur."
    classes, items = draw(st.integers(2, 6)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    p = random.dirichlet(np.full(classes, draw(st.sampled_from([.1, 1., 10.]))), items)
    if draw(st.booleans()): p = np.maximum(p, 1e-3).round(1) + 1e-9   # coarse: many ties
    return random.integers(0, draw(st.integers(1, classes)), items), p / p.sum(1, keepdims=True), classes

@settings(max_examples=80, deadline=None)
@given(classified())
def test_equals_scikit_learn(case):
    truth, p, classes = case
    ours, guess = m.classification_metrics(list(truth), p, list(range(classes))), p.argmax(1)
    for average in ('macro', 'micro'):
        theirs = sk.precision_recall_fscore_support(truth, guess, average=average, zero_division=0)[:3]
        np.testing.assert_allclose([ours[f'{k}_{average}'] for k in ('precision', 'recall', 'f1')], theirs, atol=1e-12)
    assert ours['accuracy'] == pytest.approx(sk.accuracy_score(truth, guess))
    assert ours['log_loss'] == pytest.approx(sk.log_loss(truth, p, labels=range(classes)), abs=1e-9)
    present = [c for c in range(classes) if 0 < (truth == c).sum() < len(truth)]
    assert ('roc_auc' in ours) == bool(present)
    if present: assert ours['roc_auc'] == pytest.approx(np.mean([sk.roc_auc_score(truth == c, p[:, c]) for c in present]))

@settings(max_examples=40, deadline=None)
@given(classified())
def test_calibration_error_equals_its_definition(case):
    truth, p, _ = case
    right, sure = p.argmax(1) == truth, p.max(1)
    bins = [[i for i in range(len(truth)) if b / 15 < sure[i] <= (b + 1) / 15] for b in range(15)]
    expected = sum(abs(sum(right[i] - sure[i] for i in b)) for b in bins) / len(truth)
    assert m.expected_calibration_error(right, sure) == pytest.approx(expected, abs=1e-12)

def test_calibration_error_equals_torchmetrics():
    torch = pytest.importorskip('torch')
    functional = pytest.importorskip('torchmetrics.functional.classification')
    random = np.random.default_rng(3)
    p, truth = random.dirichlet(np.ones(4), 500), random.integers(0, 4, 500)
    theirs = functional.multiclass_calibration_error(torch.tensor(p), torch.tensor(truth), num_classes=4, n_bins=15)
    assert m.expected_calibration_error(p.argmax(1) == truth, p.max(1)) == pytest.approx(float(theirs), abs=1e-6)

@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=10), st.integers(2, 50000))
def test_perplexity_of_a_uniform_model_is_its_vocabulary(texts, vocabulary):
    tokens = np.array([len(t) + 1 for t in texts])
    found = m.language_model_metrics(-tokens * np.log(vocabulary), tokens, texts)
    assert found['perplexity_token'] == pytest.approx(vocabulary)
    assert 2 ** found['bits_per_byte'] == pytest.approx(found['perplexity_byte'])

@pytest.mark.parametrize('labels, p, names', [([], np.zeros((0, 2)), 'ab'), (['a'], [[.5, .4]], 'ab'), (['a'], [[float('nan'), 1]], 'ab'),
                                              (['a'], [[1.5, -.5]], 'ab'), (['a'], [[1.]], 'ab'), (['a', 'b'], [[.5, .5]], 'ab'), (['a'], [[.5, .5]], 'aa')])
def test_what_cannot_be_measured_is_refused(labels, p, names):
    with pytest.raises(UserError): m.classification_metrics(labels, p, list(names))

@pytest.mark.parametrize('log_prob, tokens, texts', [([], [], []), ([-1.], [2], ['a', 'b']), ([1.], [2], ['a']), ([float('-inf')], [2], ['a'])])
def test_what_is_no_log_probability_is_refused(log_prob, tokens, texts):
    with pytest.raises(UserError): m.language_model_metrics(log_prob, tokens, texts)

def test_a_label_the_model_never_saw_counts_as_wrong():
    found = m.classification_metrics(['new', 'a'], [[.9, .1], [.9, .1]], ['a', 'b'])
    assert found['accuracy'] == .5 and np.isfinite(found['log_loss'])

def test_evaluate_modules_agree_and_take_batches():
    pytest.importorskip('evaluate')
    truth, guess = ['a', 'b', 'b', '退款'], ['a', 'b', 'a', '退款']
    for name in ('accuracy', 'precision', 'recall_micro', 'f1_macro'):
        one = m.metric(name)
        one.add_batch(predictions=guess[:2], references=truth[:2]); one.add_batch(predictions=guess[2:], references=truth[2:])
        assert one.compute() == m.metric(name).compute(predictions=guess, references=truth)
    assert m.metrics('f1_macro', 'f1_micro').compute(predictions=guess, references=truth).keys() == {'f1_macro', 'f1_micro'}

def test_import_needs_neither_evaluate_nor_torch():
    code = "import sys; sys.modules.update(evaluate=None, datasets=None, sklearn=None, torch=None); import enterprise_lm.tasks.metrics as m; print(m.classification_metrics(['a'], [[.9, .1]], ['a', 'b'])['accuracy'])"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == '1.0'
