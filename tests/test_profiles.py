"A profile counts the rows that a corpus would take, and reads them as a corpus does."
import json, tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from enterprise_lm.core.errors import UserError
from enterprise_lm.core.settings import get_settings
from enterprise_lm.data.profiles import build_profiles, may_profile, read_profiles
from enterprise_lm.data.read import read_rows
from enterprise_lm.data.subjects import subject_key

said = st.one_of(st.none(), st.booleans(), st.sampled_from(['yes', 'Yes', 'no', 'N', '同意', '不同意', '', ' 拒绝 ', '0']), st.text(max_size=5))
times = st.one_of(st.none(), st.integers(0, 2 * 10**9), st.floats(0, 2e9), st.datetimes().map(str),
                  st.sampled_from(['2025/01/02', '1735689600', '1735689600000', 'Wed, 01 Jan 2025 00:00:00 GMT', '2025-01-01T00:00:00+08:00', 'soon']))


def workspace(folder, data=''):
    (folder/'settings.ini').write_text(f'[privacy]\nkey = file:key\n[data]\n{data}\n')
    (folder/'key').write_text('a key of fixed content\n')
    return get_settings(folder)


@given(rows=st.lists(st.tuples(st.sampled_from(['c1', 'c2', 'c3']), said, times), min_size=1, max_size=8),
       names=st.sampled_from([('consent', 'time'), ('同意', '时间'), (' Consent', 'created_at'), ('同意', 'date')]), asked=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_profile_counts_the_rows_that_a_corpus_takes(rows, names, asked):
    with tempfile.TemporaryDirectory() as place:
        here = workspace(Path(place), 'consent = yes, 同意\n' * asked)
        given = [{'user_id': who, '内容': '我的灯坏了', names[0]: consent, names[1]: time} for who, consent, time in rows]
        read = read_rows(given, settings=here).table.to_pylist()
        expected = Counter(r['subject'] for r in read if may_profile(r['consent'], ('yes', '同意') if asked else ()))
        make = lambda: {p['subject']: p['rows'] for p in read_profiles(build_profiles(given, 'p', settings=here, root=here.home/'artifacts'))}
        if expected: assert make() == expected
        else: pytest.raises(UserError, make).match('no profile can be made')


def test_who_refused_in_any_words_has_no_profile(tmp_path):
    here = workspace(tmp_path)
    (tmp_path/'a.csv').write_text('user_id,内容,意图,时间,同意\nc1,我的灯坏了,退货,2025-01-02,不同意\nc2,hello,x,1735689600000,yes\n')
    found, = read_profiles(build_profiles(tmp_path/'a.csv', 'p', settings=here, root=here.home/'artifacts'))
    assert found['subject'] == subject_key('c2', here) and found['labels'] == {'x': 1} and found['first'].startswith('2025-01-01')


def test_times_with_and_without_a_zone_are_compared(tmp_path):
    here, times = workspace(tmp_path), ['2025-01-02T01:00:00+08:00', '2025-01-01T20:00:00', 1735689600.5, 'soon', None]
    rows = [dict(customer_id='c1', text='hi', time=t) for t in times]
    made = [build_profiles(some, 'p', settings=here, root=here.home/'artifacts') for some in (rows, rows[::-1])]
    found, = read_profiles(made[0])
    assert (found['first'], found['last']) == ('2025-01-01T00:00:00.500000+00:00', '2025-01-01T20:00:00') and made[0] == made[1]


def test_a_log_is_counted_beside_texts_of_an_odd_name(tmp_path, run_elm):
    here = workspace(tmp_path)
    rows = [dict(customer_id='c1', remark='the lamp is dark', note='a longer text than the other one, and not the one')]
    log = [dict(user='c1', item='lamp', action='buy', 时间='1735689600'), dict(user='c1', item=7, action=3), dict(user='c2', item='lamp')]
    for name, lines in dict(rows=rows, log=log).items():
        (tmp_path/f'{name}.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    done = run_elm('profile', 'rows.jsonl', 'log.jsonl', '--text', 'remark', '-o', 'p', '--json', folder=tmp_path).answer
    assert (done['rows'], done['interactions'], done['left_out']) == (1, 2, {'cannot be read': 1})
    stopped = run_elm('profile', 'rows.jsonl', '-o', 'p', '--json', folder=tmp_path, code=2).answer
    assert 'no text column' in stopped['error'] and '--text' in stopped['error']
