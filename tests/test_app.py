"""The application in a real browser: a text is tried, a vote is stored, nothing leaves the machine, no version shows."""
import json, os, re, subprocess, sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from enterprise_lm.core.artifact import draft, list_artifacts
from enterprise_lm.core.settings import get_settings
from enterprise_lm.data.concept_versions import save_library
from enterprise_lm.data.concepts import Concept, Library
from enterprise_lm.data.corpus import Corpus, prepare
from enterprise_lm.data.label_export import corpus_key
from enterprise_lm.data.labels import list_labels, store_label, write_guidelines
from enterprise_lm.models.family import save_model
from enterprise_lm.models.tfidf import TfidfClassifier
from enterprise_lm.release.registry import promote, register, versions
from enterprise_lm.review.ballots import list_votes

root = Path(__file__).resolve().parents[1]
chromium = '/usr/bin/chromium'
flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']
start = '''import sys
from enterprise_lm.app.main import launch
from enterprise_lm.core.settings import get_settings
launch(get_settings(sys.argv[1]), port=0)'''


def release(folder):
    "A workspace with two versions of `intent` and one of `single`."
    workspace = get_settings(folder)
    artifacts = workspace.folder('artifacts')
    corpus = prepare('sample://support', name='support', root=artifacts)
    train, validation = Corpus.load(corpus)['train'], Corpus.load(corpus)['validation']
    for step in (5, 2):
        model = TfidfClassifier().fit(train.texts[::step], train.labels[::step])
        model.calibrate(validation.texts, validation.labels)
        with draft('model', 'tfidf', parents=[corpus], parameters=dict(step=step), root=artifacts) as d: save_model(d.path, model)
        promote('intent', register(d.artifact, 'intent', workspace), workspace)
    promote('single', register(d.artifact, 'single', workspace), workspace)
    words = Library('support')
    first = (w for t in train.texts for w in re.findall('[a-z]{3,}|[\u4e00-\u9fff]{2}', t.lower())[:1])  # a word of each text
    for n, word in enumerate(dict.fromkeys(first)):
        named = dict(en=word if word.isascii() else f'word {n}', zh=f'词{n}' if word.isascii() else word)
        words.concepts[f'c-{n}'] = Concept(f'c-{n}', named, definition=dict(en=f'<b>word {n}</b>', zh=f'义{n}'), status='accepted')
    save_library(words, root=artifacts)
    return workspace


class Process:
    "The application in a process of its own, on a free port."
    def __init__(self, folder):
        self.process = subprocess.Popen([sys.executable, '-c', start, str(folder)], cwd=folder, text=True, stdout=subprocess.PIPE,
                                        env=os.environ | dict(PYTHONPATH=str(root), HF_HUB_OFFLINE='1'))

    def address(self):
        line = self.process.stdout.readline()
        return re.search(r'http://127\.0\.0\.1:\d+', line)[0]


@pytest.fixture(scope='module')
def running(tmp_path_factory):
    full, bare = tmp_path_factory.mktemp('full'), tmp_path_factory.mktemp('bare')
    for folder in (full, bare): (folder/'settings.ini').write_text('')
    processes = [Process(full), Process(bare)]   # an application may be started before anything is released
    try:
        workspace = release(full)
        yield SimpleNamespace(workspace=workspace, address=processes[0].address(), bare=processes[1].address(),
                              bare_workspace=get_settings(bare))
    finally:
        for p in processes: p.process.terminate()
        for p in processes: p.process.wait(timeout=20)


@pytest.fixture(scope='module')
def browser():
    if not Path(chromium).exists():
        why = f"{chromium} is missing: install Debian's chromium to test the application in a browser"
        pytest.fail(why) if os.environ.get('CI') else pytest.skip(why)
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        opened = p.chromium.launch(executable_path=chromium, args=flags)
        yield opened
        opened.close()


record = """window.received = []; const real = window.fetch;
window.fetch = async (...call) => {
  const answer = await real(...call), reader = answer.clone().body?.getReader(), decoder = new TextDecoder();
  if (reader) (async () => { try { for (;;) { const {done, value} = await reader.read(); if (done) break;
    window.received.push(decoder.decode(value, {stream: true})) } } catch {} })();
  return answer }"""


def visit(browser, address, locale='en-US', width=1000, height=760):
    "A page in a session of its own that remembers what it asked for and what it was sent, event streams included."
    page = browser.new_context(locale=locale, viewport=dict(width=width, height=height)).new_page()
    page.set_default_timeout(40_000)  # a busy machine took 15 s to show a page
    page.asked = []
    page.on('request', lambda request: page.asked.append(request.url))
    page.on('websocket', lambda socket: page.asked.append(socket.url))
    page.add_init_script(record)
    page.first = page.goto(address).text()
    return page


def received(page): return page.first + page.evaluate("received.join('')") + page.content()


def stays_here(page): return all(re.match(r'(https?://127\.0\.0\.1:\d+/|ws://127\.0\.0\.1:\d+/|data:|blob:)', url) for url in page.asked)


def keep(page, name, tmp_path):
    folder = root/'docs' if os.environ.get('ELM_KEEP_SCREENSHOTS') == '1' and name in ('app', 'app_compare', 'app_label', 'app_decide') else tmp_path
    page.screenshot(path=str(folder/f'{name}.png'), full_page=True)
    assert (folder/f'{name}.png').stat().st_size < 300_000


def begin(page, reviewer):
    page.get_by_role('tab').nth(1).click()
    page.locator('#compare_reviewer input, #compare_reviewer textarea').fill(reviewer)
    page.locator('#compare_start').click()
    page.locator('#compare_sheet').wait_for()
    return page.locator('#compare_item textarea').input_value()


def vote(page, side):
    before = page.locator('#compare_item textarea').input_value()
    page.locator(f'#compare_{side}').click()
    page.wait_for_function("before => document.querySelector('#compare_item textarea')?.value !== before", arg=before)


def test_try_a_text_and_cast_a_vote(running, browser, tmp_path):
    page = visit(browser, running.address)
    page.locator('#try_text textarea').fill('The lamp came with a cracked shade and I would like my money back')
    page.locator('#try_ask').click()
    page.locator('#try_note').get_by_text('version 2').wait_for()
    assert page.locator('#try_label').inner_text().count('%') == 5
    assert page.locator('#try_examples button, #try_examples td').count() == 4
    keep(page, 'app', tmp_path)

    shown = begin(page, 'Ada')
    digests = {row['digest'] for row in versions('intent', running.workspace)}
    everything = received(page)
    assert shown in everything or json.dumps(shown)[1:-1] in everything, 'the streams were not recorded'
    assert not any(digest[:12] in everything for digest in digests), 'a version can be told from what the page was sent'
    page.locator('#compare_reason input, #compare_reason textarea').fill('names the right thing')
    keep(page, 'app_compare', tmp_path)
    left, right = (page.locator(f'#compare_{side} textarea').input_value() for side in 'ab')
    vote(page, 'left')
    page.locator('#compare_standing').get_by_text('Your votes on this pair: 1').wait_for()

    stored = [v for v in list_votes('intent', running.workspace) if v['reviewer'] == 'Ada']
    assert [(v['choice'], v['reason']) for v in stored] == [('left', 'names the right thing')] and left != right
    assert {stored[0]['left'], stored[0]['right']} == digests
    assert not any(digest[:12] in received(page) for digest in digests)
    assert stays_here(page) and len(page.asked) > 10, [url for url in page.asked if '127.0.0.1' not in url]


def test_two_reviewers_at_once_one_on_a_phone_in_chinese(running, browser, tmp_path):
    desk, phone = visit(browser, running.address), visit(browser, running.address, 'zh-CN', 390, 844)
    phone.get_by_role('tab', name='试用').wait_for()
    phone.locator('#try_text textarea').fill('我的快递到哪里了')
    phone.locator('#try_ask').click()
    phone.locator('#try_note').get_by_text('版本 2').wait_for()
    keep(phone, 'phone', tmp_path)
    begin(desk, 'Noor'); begin(phone, '李云')
    phone.get_by_text('不分上下').wait_for()
    keep(phone, 'phone_compare', tmp_path)
    for side in ('right', 'tie'): vote(desk, side); vote(phone, side)
    assert phone.evaluate('document.documentElement.scrollWidth') <= 390
    counted = [(v['reviewer'], v['choice']) for v in list_votes('intent', running.workspace) if v['reviewer'] != 'Ada']
    assert counted == [('Noor', 'right'), ('李云', 'right'), ('Noor', 'tie'), ('李云', 'tie')]
    assert stays_here(desk) and stays_here(phone)


def desk(page, who, task, labels=''):
    "Start labelling; returns the text shown."
    page.get_by_role('tab').nth(2).click()
    page.locator('#label_annotator input, #label_annotator textarea').fill(who)
    page.locator('#label_task input, #label_task textarea').fill(task)
    if labels:
        page.locator('#label_rules button').first.click()
        page.locator('#label_guidelines textarea').fill('<img src=x onerror="document.title=1"> 看语气，不看内容')
        page.locator('#label_labels textarea').fill(labels)
    page.locator('#label_start').click()
    page.locator('#label_sheet').wait_for()
    return page.locator('#label_item textarea').input_value()


def after(page, act):
    "The next text, once an act has brought one."
    before = page.locator('#label_item textarea').input_value()
    act()
    page.wait_for_function("before => document.querySelector('#label_item textarea')?.value !== before", arg=before)
    return page.locator('#label_item textarea').input_value()


def test_label_texts_with_buttons_and_keys(running, browser, tmp_path):
    page, title = visit(browser, running.address), ''
    page.get_by_role('tab').nth(2).click()
    page.locator('#label_start').click()
    page.locator('#label_standing').get_by_text('Give your name first').wait_for()
    first = desk(page, 'Ada', 'tone', 'kind\n生气\n<b>neutral</b>')
    title = page.title()
    page.locator('#label_choice_3').get_by_text('3 · <b>neutral</b>').wait_for()
    page.locator('#label_terms').get_by_text('Terms in this text').wait_for()
    assert page.locator('#label_terms tbody tr').count() and not page.locator('#label_terms b').count()
    page.locator('#label_reason input, #label_reason textarea').fill('says please, write to ada@brightloom.example 2')
    keep(page, 'app_label', tmp_path)
    second = after(page, lambda: page.locator('#label_choice_2').click())
    page.locator('#label_item').click(position=dict(x=5, y=2))
    third = after(page, lambda: page.keyboard.press('3'))
    fourth = after(page, lambda: page.locator('#label_skip').click())
    assert after(page, lambda: page.locator('#label_back').click()) == second
    assert after(page, lambda: page.locator('#label_choice_1').click()) not in (first, second, third)
    page.locator('#label_standing').get_by_text('You have labelled 2').wait_for()
    stored = list_labels(task='tone', settings=running.workspace)
    assert [(r['label'], r['annotator']) for r in stored] == [('生气', 'Ada'), ('<b>neutral</b>', 'Ada'), ('kind', 'Ada')]
    assert stored[1]['item'] == stored[2]['item'] and stored[0]['reason'].startswith('says please') and 'ada@' not in stored[0]['reason']
    page.locator('#label_export').click()
    page.locator('#label_file a').first.wait_for()
    with page.expect_download() as found: page.locator('#label_file a').first.click()
    rows = [json.loads(line) for line in Path(found.value.path()).read_text(encoding='utf-8').splitlines()]
    assert {(r['text'], r['label']) for r in rows} == {(first, '生气'), (second, 'kind')} and 'Ada' not in str(rows)
    assert page.title() == title and stays_here(page) and fourth


def test_two_annotators_meet_on_the_same_texts_one_in_chinese_from_a_list(running, browser, tmp_path):
    left, phone = visit(browser, running.address), visit(browser, running.address, 'zh-CN', 390, 844)
    texts = [desk(page, who, 'intent') for page, who in ((left, 'Noor'), (phone, '李云'))]
    assert texts[0] == texts[1] and not left.locator('#label_choice_1').is_visible()
    for page, name in ((left, 'refund_status'), (phone, 'cancel_order')):
        page.locator('#label_choice input').fill(name[:6])
        page.get_by_role('option', name=name).click()
        after(page, lambda: page.locator('#label_give').click())
    phone.locator('#label_standing').get_by_text('需要 10 条由两人标注的文本').wait_for()
    keep(phone, 'phone_label', tmp_path)
    assert phone.evaluate('document.documentElement.scrollWidth') <= 390
    stored = list_labels(task='intent', settings=running.workspace)
    assert {(r['annotator'], r['label']) for r in stored} == {('Noor', 'refund_status'), ('李云', 'cancel_order')} and len({r['item'] for r in stored}) == 1
    assert stays_here(left) and stays_here(phone)


def test_what_is_missing_is_said(running, browser, tmp_path):
    page = visit(browser, running.bare)
    page.locator('#empty').get_by_text('elm demo').wait_for()
    assert page.get_by_role('tab').count() == 0
    keep(page, 'bare', tmp_path)
    page = visit(browser, running.address)
    page.locator('#try_ask').click()
    page.locator('#try_note').get_by_text('There is no text yet').wait_for()
    page.locator('#model input').click()
    page.get_by_role('option', name='single').click()
    page.get_by_role('tab').nth(1).click()
    page.locator('#compare_missing').get_by_text('one version').wait_for()
    assert not page.locator('#compare_start').is_visible()
    assert stays_here(page)


def test_the_interface_answers_scripts(running):
    from gradio_client import Client
    client = Client(running.address, verbose=False, analytics_enabled=False)
    found, _, note = client.predict('intent', 'Where is my parcel?', api_name='/answer')
    assert len(found['confidences']) == 5 and 'version 2' in note
    assert 'no text yet' in client.predict('intent', ' \u200b', api_name='/answer')[2]
    assert '10,000 are allowed' in client.predict('intent', 'x' * 10_001, api_name='/answer')[2]
    assert 'nothing to vote on' in str(client.predict('intent', '2:1', 'text', '', api_name='/vote_tie'))
    assert 'your name first' in str(client.predict('intent', '2:1', ' ', api_name='/start'))
    drawn = client.predict('intent', '2:1', 'script', api_name='/start')
    digests = [row['digest'] for row in versions('intent', running.workspace)]
    assert not any(digest[:12] in str(drawn) for digest in digests)
    client.predict('intent', '2:1', 'not the text on the ballot', '', api_name='/vote_left')
    assert not [v for v in list_votes('intent', running.workspace) if v['reviewer'] == 'script']


nasty = '<img src=x onerror="document.title=1"> ${document.title=2} {{#if}} {{this}}'


def dispute(workspace, task):
    "Labels of a task on which two people differ twice; returns {id: text} of the two, the one with three labels first."
    corpus = Corpus.load(list_artifacts('corpus', workspace.folder('artifacts'))[0])
    train, key = corpus['train'], corpus_key(corpus)
    write_guidelines(task, f'看语气，不看内容。 {nasty}', ['calm', 'upset', '<b>unclear</b>'], 'Mara', workspace)
    for n in range(12):
        for who in ('Mara', '李云'):
            store_label(train.ids[n], key, task, 'upset' if n == 3 or who == 'Mara' and n in (4, 5) else 'calm', who, nasty if n == 5 else '', settings=workspace)
    store_label(train.ids[5], key, task, '<b>unclear</b>', 'Tom', '看不出语气', settings=workspace)
    store_label(train.ids[6], key, task, 'upset', 'Tom', settings=workspace); store_label(train.ids[6], key, task, 'calm', 'Tom', settings=workspace)
    return {train.ids[n]: train.texts[n] for n in (5, 4)}


def chair(page, who, task):
    "Open the tab of decisions and ask for what is disputed; returns the text shown."
    page.get_by_role('tab').nth(3).click()
    page.locator('#decide_task input').click()
    page.get_by_role('option', name=task, exact=True).click()
    page.locator('#decide_who input, #decide_who textarea').fill(who)
    page.locator('#decide_start').click()
    page.locator('#decide_opinions td').first.wait_for()
    return page.locator('#decide_item textarea').input_value()


def decide(page, label, reason):
    page.locator('#decide_few').get_by_label(label, exact=True).check()
    page.locator('#decide_reason textarea').fill(reason)
    page.locator('#decide_give').click()


def test_two_adjudicators_decide_one_on_a_phone_in_chinese(running, browser, tmp_path):
    "Votes, reasons, agreement and guidelines are in sight; a decision needs a reason, waits for an earlier one, and is exported."
    disputed = dispute(running.workspace, 'mood')
    before = list_labels(task='mood', settings=running.workspace)
    left, phone = visit(browser, running.address), visit(browser, running.address, 'zh-CN', 390, 844)
    title, texts = left.title(), list(disputed.values())
    assert [chair(page, who, 'mood') for page, who in ((left, 'Noor'), (phone, '周敏'))] == [texts[0]] * 2
    table = left.locator('#decide_opinions').inner_text()
    assert all(part in table for part in ('Mara', '李云', 'Tom', nasty, '看不出语气', '<b>unclear</b>'))
    assert nasty in left.locator('#decide_shown textarea').input_value()
    left.locator('#decide_standing').get_by_text("Krippendorff's alpha on 12 texts").wait_for()
    phone.locator('#decide_standing').get_by_text('待裁定：2 条').wait_for()
    left.locator('#decide_pairs button').first.click()
    left.locator('#decide_pairs').get_by_text('Mara · 李云').wait_for()
    left.locator('#decide_give').click()
    left.locator('#decide_note').get_by_text('Choose a label first').wait_for()
    decide(left, 'calm', ' ')
    left.locator('#decide_note').get_by_text('Write a reason first').wait_for()
    keep(left, 'app_decide', tmp_path); keep(phone, 'phone_decide', tmp_path)
    decide(left, 'calm', 'No strong word, says noor@brightloom.example')
    left.wait_for_function("text => document.querySelector('#decide_item textarea')?.value === text", arg=texts[1])

    decide(phone, '<b>unclear</b>', '规范没有提到这种情况')
    phone.locator('#decide_note').get_by_text('刚被他人裁定').wait_for()
    phone.locator('#decide_opinions').get_by_text('Noor · 裁定').wait_for()
    assert phone.locator('#decide_reason textarea').input_value() == '规范没有提到这种情况'
    phone.locator('#decide_give').click()
    phone.wait_for_function("text => document.querySelector('#decide_item textarea')?.value === text", arg=texts[1])
    assert phone.evaluate('document.documentElement.scrollWidth') <= 390
    decide(left, 'upset', 'A threat')
    left.locator('#decide_standing').get_by_text('Nothing is left to decide').wait_for()

    rows = list_labels(task='mood', settings=running.workspace)
    assert rows[:len(before)] == before, 'an earlier vote was touched'
    assert [(r['annotator'], r['label'], r['role']) for r in rows[len(before):]] == [
        ('Noor', 'calm', 'adjudicator'), ('周敏', '<b>unclear</b>', 'adjudicator'), ('Noor', 'upset', 'adjudicator')]
    assert rows[len(before)]['reason'].startswith('No strong word') and 'noor@' not in str(rows)
    left.locator('#decide_export').click()
    left.locator('#decide_file a').first.wait_for()
    with left.expect_download() as found: left.locator('#decide_file a').first.click()
    exported = [json.loads(line) for line in Path(found.value.path()).read_text(encoding='utf-8').splitlines()]
    assert {r['id']: r['label'] for r in exported if r['decided_by'] == 'adjudication'} == dict(zip(disputed, ('<b>unclear</b>', 'upset')))
    assert len(exported) == 12 and left.title() == title and stays_here(left) and stays_here(phone)


def test_without_a_model_there_is_labelling_and_deciding(running, browser, tmp_path):
    prepare('sample://support', name='support', root=running.bare_workspace.folder('artifacts'))
    page = visit(browser, running.bare)
    page.locator('#label_start').wait_for()
    assert [tab.inner_text() for tab in page.get_by_role('tab').all()] == ['Label', 'Decide']
    page.get_by_role('tab').nth(1).click()
    page.locator('#decide_missing').get_by_text('Nobody has labelled a text yet').wait_for()
    assert not page.locator('#decide_start').is_visible()
