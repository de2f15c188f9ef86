"Comparisons are honest, and the report page is safe with any text and reads on a phone without a network."
import json, math, shutil
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from enterprise_lm.core.errors import UserError
from enterprise_lm.evaluation.compare import compare, compare_items, decide, mcnemar
from enterprise_lm.evaluation.findings import Contender, findings
from enterprise_lm.evaluation.report import page

scores = st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 1])), min_size=1, max_size=60)

@settings(max_examples=60, deadline=None)
@given(scores, st.floats(0, .2))
def test_swapping_the_models_mirrors_the_comparison(pairs, margin):
    a, b = map(list, zip(*pairs))
    one, other = compare(a, b, resamples=200, margin=margin), compare(b, a, resamples=200, margin=margin)
    assert one.gain == pytest.approx(-other.gain) and (one.wins, one.losses) == (other.losses, other.wins) and one.p_value == other.p_value
    assert one.lower <= one.gain <= one.upper and one.verdict == decide(one.lower, one.upper, margin)

@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_equals_the_binomial_test(wins, losses):
    from scipy.stats import binomtest
    assert mcnemar(wins, losses) == pytest.approx(binomtest(wins, wins + losses).pvalue if wins + losses else 1.)

def test_the_bootstrap_equals_the_normal_interval_on_many_items():
    random = np.random.default_rng(0)
    a, b = (random.random(20000) < .9).astype(int), (random.random(20000) < .88).astype(int)
    found, half = compare(a, b), 1.96 * np.std(a - b) / math.sqrt(20000)
    assert (found.lower, found.upper) == (pytest.approx(found.gain - half, abs=5e-4), pytest.approx(found.gain + half, abs=5e-4))

def test_few_items_never_give_a_verdict_on_a_small_difference():
    for n in (1, 2, 5, 20, 100): assert compare([1] * n, [1] * n).verdict == 'not enough data'
    assert compare([1] * 1000, [1] * 1000).verdict == 'not worse'

@pytest.mark.parametrize('call', [lambda: compare([], []), lambda: compare([1], [1, 0]), lambda: compare([float('nan')], [1]), lambda: compare([1], [0], weights=[0]),
                                  lambda: compare([1], [0], weights=[1, 2]), lambda: compare([1], [0], margin=-1), lambda: compare([1], [0], confidence=1), lambda: compare([1], [0], resamples=1),
                                  lambda: compare_items(dict(id=['a', 'a'], score=[1, 1]), dict(id=['a', 'b'], score=[1, 1]))])
def test_what_cannot_be_compared_is_refused(call):
    with pytest.raises(UserError): call()

hostile = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', '&lt;b&gt;', 'مرحبا ‮ abc', '退款' * 80, '\x00\x07', '😀', '{{7*7}}', '']

def report_of(labels, texts):
    truth = [labels[i % len(labels)] for i in range(len(texts))]
    guess = [labels[(i + (i % 3 == 0)) % len(labels)] for i in range(len(texts))]
    items = dict(id=list(map(str, range(len(texts)))), text=texts, label=truth, prediction=guess, confidence=[.4 + .5 * (i % 2) for i in range(len(texts))],
                 score=[float(a == b) for a, b in zip(truth, guess)])
    made = [Contender(name, items, dict(accuracy=.5), dict(accuracy=.5), name) for name in ('majority', 'model <b>')]
    return findings(made, task='classify', primary='accuracy', higher_is_better=True)

@pytest.mark.parametrize('count', [2, 16, 77])
def test_any_text_and_any_label_make_a_page_without_outside_references(count):
    labels = [f'{h or "empty"} {i}' for i, h in zip(range(count), hostile * 9)]
    report = report_of(labels, hostile * 30)
    json.dumps(report, allow_nan=False)
    html = page(report, '<i>name</i>', {}, dict(corpus='<u>'))
    assert not any(mark in html for mark in ('<script', '<img', '<i>name', '<u>', 'model <b>', 'http:', 'https:', 'url('))
    assert html.count('<table') >= 5 and len(html) < 400_000

def test_the_page_asks_for_nothing_and_fits_a_phone(tmp_path):
    sync = pytest.importorskip('playwright.sync_api')
    browser_path = shutil.which('chromium')
    if not browser_path: pytest.skip('needs chromium')
    (tmp_path/'report.html').write_text(page(report_of(['refund', '退款', 'a_very_long_label_that_goes_on'], ['some text with words'] * 90), 'report'), encoding='utf-8')
    with sync.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=browser_path, args=['--no-sandbox'])
        tab, asked, said = browser.new_page(viewport=dict(width=360, height=740)), [], []
        tab.on('request', lambda r: asked.append(r.url)); tab.on('console', lambda m: said.append(m.text))
        tab.goto((tmp_path/'report.html').as_uri())
        assert len(asked) == 1 and not said and tab.evaluate('document.documentElement.scrollWidth') <= 360
        browser.close()
