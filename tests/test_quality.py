"Promises of the quality report, its gate and the comparison of versions."
import json, random
import pyarrow as arrow
import pytest
from collections import Counter
from hypothesis import given, settings, strategies as st
from enterprise_lm.core.artifact import draft
from enterprise_lm.core.errors import UserError
from enterprise_lm.data.changes import compare_corpora, compare_tables, measure_drift
from enterprise_lm.data.quality import Part, Quality, inspect, limits, measure_quality, plot_coverage, require_quality, total_variation

columns = ('id', 'text', 'source', 'label', 'language', 'subject', 'licence', 'group', 'time', 'consent')
english = 'parcel order card refund invoice address password account delivery screen lamp table chair sofa shelf mirror carpet blanket pillow cable'.split()
chinese = '包裹订单银行卡退款发票地址密码账户配送屏幕台灯桌子椅子沙发书架镜子地毯毯子枕头电线'

def rows(n, seed=1, **fixed):
    rng = random.Random(seed)
    for i in range(n):
        zh = i % 2
        text = ''.join(rng.choices(chinese, k=rng.randint(12, 30))) if zh else ' '.join(rng.choices(english, k=rng.randint(6, 20)))
        yield dict(id=f'{seed}-{i}', text=text, source=f'mail.csv:{i + 2}', label='ab'[i // 2 % 2], language='zh' if zh else 'en', time=f'2025-{i % 12 + 1:02d}-01') | fixed

def table(rows): return arrow.table({c: arrow.array([r.get(c) for r in rows], arrow.string()) for c in columns})
def good(): return dict(train=table(list(rows(400))), test=table(list(rows(100, seed=2))))
def parts(quality): return {p.name: p for p in quality.parts}

def save(root, sides, name='made', **files):
    with draft('corpus', name, root=root) as d:
        for side, t in sides.items():
            with arrow.OSFile(str(d.path/f'{side}.arrow'), 'wb') as file, arrow.ipc.new_stream(file, t.schema) as stream: stream.write_table(t, max_chunksize=64)
        (d.path/'corpus.json').write_text(json.dumps(dict(name=name, splits={s: dict(rows=t.num_rows) for s, t in sides.items()})))
        for file, text in files.items(): (d.path/file.replace('_', '.')).write_text(text)
    return d.artifact


def test_a_good_corpus_scores_well_and_each_flaw_is_named():
    base = good()
    assert measure_quality(base).score > .95
    train, test = base['train'].to_pylist(), base['test'].to_pylist()
    flaws = dict(duplication=(train * 4, test), leakage=(train + test, test), balance=([r | dict(label='a') for r in train[:390]] + [r | dict(label='b') for r in train[390:]], test),
                 representation=(train, [r | dict(label='a') for r in test]), coverage=(train[:-6] + [r | dict(label=f'new{i}') for i, r in enumerate(train[-6:])], test),
                 lengths=([r | dict(text=r['text'] * 300) if i % 8 == 0 else r for i, r in enumerate(train)], test), characters=([r | dict(text=r['text'] + '\ufffd') for r in train], test),
                 personal=([r | dict(text=f'{r["text"]} ann{i}@example.com') for i, r in enumerate(train)], test), missing=([r | dict(language=None) if i % 2 else r for i, r in enumerate(train)], test))
    assert set(flaws) == set(limits)
    for name, (a, b) in flaws.items():
        worse = parts(measure_quality(dict(train=table(a), test=table(b))))[name]
        assert worse.score < .8, (name, worse)

def test_batches_are_enough_and_order_of_sides_does_not_matter():
    sides = good()
    whole = measure_quality(sides).to_dict()
    pieces = {s: iter(t.to_batches(max_chunksize=33)) for s, t in reversed(sides.items())}
    assert measure_quality(pieces, rows=500).to_dict() == whole == json.loads(json.dumps(whole))
    assert Quality.from_dict(whole).to_dict() == whole

def test_small_and_odd_corpora():
    with pytest.raises(UserError, match='no rows'): measure_quality(dict(train=table([])))
    one = measure_quality(dict(train=table(list(rows(1)))))
    assert 0 <= one.score <= 1 and '_repr_html_' and one._repr_html_()
    same = measure_quality(dict(train=table([dict(id=str(i), text='', source='a:1') for i in range(50)])))
    assert parts(same)['duplication'].score == 0 and same.score < .5
    plot_coverage(same)

def test_reports_mask_personal_data_and_markup():
    quality = measure_quality(dict(train=table([r | dict(label='ann@example.com', source='<b>ann@example.com</b>:3') for r in rows(40)])))
    shown = json.dumps(quality.to_dict()) + quality._repr_html_() + repr(quality)
    assert 'ann@example.com' not in shown

def test_the_picture_is_a_png(tmp_path):
    plot_coverage(measure_quality(good()), tmp_path/'c.png')
    assert (tmp_path/'c.png').read_bytes()[:4] == b'\x89PNG'

def test_the_gate_refuses_and_names_the_weakest(tmp_path):
    fine, bad = save(tmp_path, good()), save(tmp_path, dict(train=table(list(rows(60)) * 10)), 'copies')
    assert require_quality(fine, .5).score > .9 and require_quality(bad, 0) is None
    with pytest.raises(UserError, match=r'copies scores 0\.\d+ .* 0\.50 is asked for: the weakest part is duplication \(540 of 600'): require_quality(bad.path, .5)
    with pytest.raises(UserError, match='from 0 to 1'): require_quality(fine, 5)

def test_a_stored_report_is_read(tmp_path):
    report = measure_quality(good(), 'stored').to_dict()
    report['parts'][0]['value'] = .9
    artifact = save(tmp_path, good(), quality_json=json.dumps(report))
    assert inspect(artifact).score < .6 < inspect(artifact, .8).score

def test_training_refuses_a_bad_corpus(tmp_path):
    from enterprise_lm.core.settings import get_settings
    from enterprise_lm.data.corpus import prepare
    from enterprise_lm.tasks.task import Recipe
    from enterprise_lm.training.trainer import fit
    made = prepare([dict(text=f'same words again and again {i // 50}', label='ab'[i % 2]) for i in range(200)] + [dict(text=f'{a} {b}', label='a') for a in english for b in english[:4]], root=tmp_path)
    with pytest.raises(UserError, match='the weakest part is'): fit('classify', made, Recipe('tfidf'), name='m', root=tmp_path, settings=get_settings(tmp_path, data__minimum_quality=.99))
    assert not (tmp_path/'model').exists()

@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=30), st.sampled_from([None, 'a', 'b']), st.sampled_from([None, 'en', 'zh']), st.text(max_size=8)), min_size=1, max_size=12))
def test_any_rows_can_be_judged_and_compared(values):
    safe = lambda t: t.encode('utf-8', 'ignore').decode()
    t = table([dict(id=str(i), text=safe(x), label=l, language=g, time=safe(m), source=f'{safe(m)}:{i}') for i, (x, l, g, m) in enumerate(values)])
    quality = measure_quality(dict(train=t))
    assert 0 <= quality.score <= 1 and json.dumps(quality.to_dict()) and quality._repr_html_()
    changes = compare_tables(dict(train=t), dict(train=t.slice(1), test=t.slice(0, 1)))
    assert changes.counts['changed_split'] <= 1 and json.dumps(changes.to_dict()) and changes._repr_html_()


def test_changes_are_counted_per_kind():
    old = list(rows(50))
    new = [r | {} for r in old[5:]] + list(rows(3, seed=9, source='other.csv:1'))
    new[0]['text'] += ' edited'; new[1]['label'] = 'z'; new[2]['licence'] = 'MIT'
    changes = compare_tables(dict(train=table(old)), dict(train=table(new[:40]), test=table(new[40:])))
    assert changes.counts == dict(rows_before=50, rows_after=48, added=3, removed=5, changed=8, changed_text=1, changed_label=1, changed_split=5, changed_other=1, same=37)
    assert changes.to_dict()['same'] is False and json.dumps(changes.to_dict())

def test_edits_are_found_without_ids_that_stay():
    old = [r | dict(id=str(hash(r['text']))) for r in rows(30)]
    new = [r | {} for r in old]
    new[3] |= dict(id='new3', text='something else now'); new[4] |= dict(id='new4', label='z')
    counts = compare_tables(dict(train=table(old)), dict(train=table(new))).counts
    assert (counts['changed_text'], counts['changed_label'], counts['added'], counts['removed']) == (1, 1, 0, 0)

def test_artifacts_are_compared_and_the_result_is_the_same_each_time(tmp_path):
    a, b = save(tmp_path, good(), 'v1'), save(tmp_path, dict(good(), train=good()['train'].slice(10)), 'v2')
    first, second = compare_corpora(a, b), compare_corpora(a.path, b.path)
    assert first.to_dict() == second.to_dict() and first.counts['removed'] == 10 and first.before.startswith('v1@')
    assert compare_corpora(a, a).same and all(d.distance == 0 for d in compare_corpora(a, a).drift)
    with pytest.raises(UserError): compare_corpora(a, tmp_path)

def test_personal_data_and_markup_do_not_reach_the_diff():
    old, new = list(rows(4)), [r | dict(text='write to ann@example.com <script>') for r in rows(4)]
    changes = compare_tables(dict(train=table(old)), dict(train=table(new)))
    assert 'ann@' not in json.dumps(changes.to_dict()) + changes._repr_html_() + repr(changes) and '<script>' not in changes._repr_html_()

def test_drift_has_an_interval_that_holds_the_distance():
    drift = measure_drift('label', Counter(a=500, b=500), Counter(a=300, b=700))
    assert drift.low < drift.distance == .2 < drift.high and drift.p < 1e-10 and drift == measure_drift('label', Counter(b=500, a=500), Counter(b=700, a=300))
    assert measure_drift('label', Counter(), Counter(a=3)).distance == 0 and total_variation(Counter(), Counter()) == (0, 0)


def test_a_comparison_shows_labels_and_no_persons():
    def labelled(labels): return dict(train=table([dict(id=f'{n}', text=f'letter {n} of Ann Vermeulen', source=f'a.csv:{n}', label=l, language='en') for n, l in enumerate(labels)]))
    def shown(before, after):
        found = compare_tables(labelled(before), labelled(after)).to_dict()
        assert all('Vermeulen' not in s['before'] + s['after'] for s in found['samples'])
        return [(s['label_before'], s['label_after']) for s in found['samples']], str(found['drift'])
    assert shown(['card_arrival', 'lost'] * 4, ['lost', 'card_arrival'] * 4)[0][:2] == [('card_arrival', 'lost'), ('lost', 'card_arrival')]
    said, drift = shown(['card_arrival', 'write to ann@loom.example', None], ['lost-card', 'Ann Vermeulen', 'device'])
    assert said == [('card_arrival', 'lost-card'), ('write to [EMAIL]', '[PERSON]'), (None, 'device')]
    assert 'ann@' not in drift and 'Vermeulen' not in drift and 'card_arrival' in drift
    assert 'ann@' not in shown(['ann@loom.example'] * 4, ['device'] * 4)[1]


@given(st.sampled_from([('data', k) for k in ('train', 'near_duplicates', 'rejected_limit', 'overlap_limit', 'missing_limit', 'outliers_limit', 'minimum_quality')] + [('privacy', 'minimum_score'), ('evaluation', 'confidence'), ('release', 'golden_minimum')]), st.floats())
@settings(max_examples=60, deadline=None)
def test_a_share_in_the_settings_is_a_share(name, value):
    from enterprise_lm.core.settings import get_settings
    make = lambda: get_settings('/', **{'__'.join(name): str(value)})
    if 0 <= value <= 1: assert getattr(getattr(make(), name[0]), name[1]) == value
    else: pytest.raises(UserError, make).match(r'from 0 to 1')


def test_no_count_in_the_settings_is_below_nothing():
    from enterprise_lm.core.settings import get_settings
    for name in ('data__processes', 'pipelines__jobs', 'pipelines__time_limit', 'serving__port', 'evaluation__margin'):
        with pytest.raises(UserError, match='from 0 on'): get_settings('/', **{name: '-1'})
    assert get_settings('/', data__seed='-1', evaluation__margin='3').data.seed == -1
