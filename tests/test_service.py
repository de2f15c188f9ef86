"""The HTTP service under a schema fuzzer, hostile requests, clients that leave, rollbacks and SIGTERM: a right answer or a 4xx with a reason."""
import gzip, json, re, signal, socket, subprocess, sys, tempfile, threading, time
from urllib.parse import urlsplit
import httpx, pytest, schemathesis
from hypothesis import HealthCheck, settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance
from enterprise_lm.core.artifact import draft
from enterprise_lm.core.settings import get_settings
from enterprise_lm.data.samples import sample_records
from enterprise_lm.models.family import save_model
from enterprise_lm.models.ngram import NgramLanguageModel
from enterprise_lm.models.tfidf import TfidfClassifier
from enterprise_lm.release.registry import promote, register, rollback
from enterprise_lm.serving.service import make_app

SERVE = '''
import sys, time
from enterprise_lm.core.settings import get_settings
from enterprise_lm.serving import http, service
http.body_seconds = 1.
if sys.argv[2] == 'slow':
    plain = service._pieces
    def slow(*given):
        for piece in plain(*given): time.sleep(.01); yield piece
    service._pieces = slow
service.serve(settings=get_settings(sys.argv[1]), port=0, poll_seconds=.2)
'''

class Server:
    "The service in a process of its own, on a free port."
    def __init__(self, folder, kind='plain'):
        self.log = open(folder/f'log-{kind}-{time.monotonic_ns()}.txt', 'w+')
        self.process = subprocess.Popen([sys.executable, '-c', SERVE, str(folder), kind], stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        assert ' answers: ' in line, (self.process.poll(), self.logged())
        self.address, self.told = line.split()[0], line
        self.client = httpx.Client(base_url=self.address, timeout=30)

    def logged(self):
        self.log.seek(0)
        return self.log.read()

    def stop(self):
        self.client.close()
        if self.process.poll() is None: self.process.terminate()
        try: return self.process.wait(20)
        finally: self.process.kill(); self.process.stdout.close(); self.log.close()

def released(settings, name, model):
    with draft('model', name, root=settings.folder('artifacts')) as d: save_model(d.path, model, {})
    promote(name, register(d.artifact, name, settings), settings)

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('service')
    settings = get_settings(folder)
    rows = [r.values for _, found in sample_records('sample://support') for r in found]
    texts, labels = [r['text'] for r in rows], [r['label'] for r in rows]
    released(settings, 'intent', TfidfClassifier().fit(texts[::7], labels[::7]))
    released(settings, 'intent', TfidfClassifier().fit(texts[::3], labels[::3]))
    articles = [r.values['text'] for _, found in sample_records('sample://help') for r in found][::9]
    released(settings, 'writer', NgramLanguageModel(3, unit='char').fit(articles))
    return folder

@pytest.fixture(scope='module')
def server(folder):
    server = Server(folder)
    yield server
    server.stop()

# --- the schema fuzzer

config = SchemathesisConfig.from_dict(dict(generation={'max-examples': 25, 'database': 'none'}, phases=dict(coverage=dict(enabled=True))))
schema = schemathesis.openapi.from_dict(make_app(settings=get_settings(tempfile.gettempdir())).openapi(), config=config)

@schema.parametrize()
@hypothesis_settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_schema_fuzzer(case, server):
    case.call_and_validate(base_url=server.address, timeout=30, checks=[not_a_server_error, response_schema_conformance, content_type_conformance, status_code_conformance])

def test_the_schema_names_every_route_and_error(server):
    document = server.client.get('/openapi.json').json()
    assert set(document['paths']) == {'/v1/models', '/v1/classify', '/v1/completions', '/healthz', '/readyz', '/metrics'}
    for path in ('/v1/classify', '/v1/completions'):
        call = document['paths'][path]['post']
        assert {'200', '400', '404', '413', '415', '422', '429', '503'} <= set(call['responses'])
        assert call['requestBody']['required'] and '$ref' in json.dumps(call['requestBody'])

# --- hostile requests

JSON = {'content-type': 'application/json'}

def texts():
    "Texts a classifier must answer, and those it must refuse."
    good = ['a', '灯', '我的包裹到哪里了？', 'مرحبا أين طردي', 'שלום עולם', '😀' * 500, 'é' * 3000, 'e\u0301' * 2000, '\u202etxet desrever', '\u200fRTL\u200e', 'a\x00b', '\x00\x01\x02x', 'a\tb\r\nc',
            'ﷺ' * 500, '𠮷野家', '\U0010ffff', '\ufffe\uffff x', '\ufeffbom', 'x' * 10000, 'word ' * 2000, '<script>alert(1)</script>', "'; DROP TABLE models; --", '{{7*7}}', '${jndi:ldap://x}',
            '../../etc/passwd', '%s%s%n', '%00', '\\u0000', '"quoted"', '\\', '/', '[MASK]', '<s></s>', '<|endoftext|>', 'NaN', 'null', '-1', '1e999', 'ＦＵＬＬ　ＷＩＤＴＨ', '👩‍👩‍👧‍👦' * 50,
            'Z͑ͫ̓a̴l͖g̀o' * 100, 'ｶﾀｶﾅ', '\u2028\u2029x', 'ǅ', 'ß' * 100, 'İ', '١٢٣', '\U000e0041\U000e0042x']
    bad = ['', ' ', '\n\t', '\u200b\u200b', '\x00', '\u3000', '\u202e', 'x' * 10001, '灯' * 10001]
    return good, bad

def bodies():
    "(expected, body): requests for /v1/classify that JSON or the schema must refuse, or that are right."
    good, bad = texts()
    yield from ((200, json.dumps(dict(text=t))) for t in good)
    yield from ((200, json.dumps(dict(text=t, model='intent'), ensure_ascii=False)) for t in good[:20])
    yield from ((422, json.dumps(dict(text=t))) for t in bad)
    yield 200, json.dumps(dict(texts=good[:14])); yield 422, json.dumps(dict(texts=good[:3] + ['']))
    surrogates = ['"\\ud800"', '"\\udc00x"', '"a\\ud83d"', '"\\udfff\\ud800"', '"\\ud83d\\ud83d\\ude00"']
    yield from ((422, f'{{"text": {s}}}') for s in surrogates)
    yield from ((422, f'{{"texts": ["fine", {s}]}}') for s in surrogates)
    yield 200, '{"text": "\\ud83d\\ude00"}'
    values = ['null', '5', '-1', '1.5', 'true', 'false', '[]', '{}', '[1]', '[null]', '[["a"]]', '{"a": "b"}', '[[[[[[]]]]]]', '1e308', '12345678901234567890123', '0', '""']
    yield from ((422, f'{{"text": {v}}}') for v in values)
    yield from ((422, f'{{"texts": {v}}}') for v in values)
    yield from ((422, f'{{"text": "a", "top_k": {v}}}') for v in values if v != '5')
    yield from ((422, f'{{"text": "a", "top_k": {v}}}') for v in ('"5"', '1001', '-9223372036854775809', '1e3', '5.5'))
    yield from ((422, f'{{"text": "a", "model": {v}}}') for v in values if v != 'null')
    yield from ((422, v) for v in values)
    yield from ((404, json.dumps(dict(text='a', model=m))) for m in ('nope', 'intent2', '../intent', 'intent\x00', "intent' OR 1=1", 'Intent', '模型', ' intent', 'intent@1'))
    yield from ((400, b) for b in ('', ' ', '{', '}', '{"text"', '{"text": }', '{"text": "a",}', "{'text': 'a'}", 'text=a', '<xml/>', '\ufeff{"text": "a"}', '{"text": "a"} x', '{"text": "a\nb"}', '{"text": "\\x41"}',
                                   '{"text": "\\u12"}', '{"text": "a", "text": "b"}', '{"text": "a", "top_k": NaN}', '{"text": "a", "top_k": Infinity}', '{"text": "a", "top_k": -Infinity}',
                                   '{"text": "a", "top_k": ' + '9' * 5000 + '}', '[' * 100000, '{"a":' * 20000, '{"text": ' + '[' * 5000 + ']' * 5000 + '}', 'nul', 'undefined', '01', '{"text": "a"}{"text": "b"}', '//x', '{"text": "a" /* c */}'))
    yield from ((422, json.dumps(dict(text='a', **{f: 1}))) for f in ('txt', 'Text', '__proto__', 'constructor', 'temperature', '', '\x00', 'é'))
    yield 422, json.dumps(dict(text='a', texts=['b'])); yield 422, json.dumps(dict(texts=['a'] * 65)); yield 422, '{}'; yield 413, json.dumps(dict(text='x' * 1_000_000)); yield 413, ' ' * 300_000
    yield from ((400, b) for b in (b'\xff\xfe', b'{"text": "\xff"}', b'\x00', b'{"text": "\xed\xa0\x80"}', b'{"text": "\xc0\xaf"}', '{"text": "a"}'.encode('utf-16'), bytes(range(256))))

def completions():
    base = dict(prompt='To reset your ', max_tokens=4, seed=1)
    yield from ((200, base | more) for more in (dict(), dict(temperature=0), dict(temperature=5e-324), dict(temperature=10), dict(top_p=.001), dict(n=8), dict(seed=2**63 - 1), dict(stop=['e', 'a']), dict(stop='o'), dict(prompt='灯'),
                                                dict(prompt='مرحبا'), dict(prompt='a\x00b'), dict(prompt='x' * 10000), dict(stream=True), dict(stream=True, n=2), dict(prompt=' '), dict(stop=[]), dict(max_tokens=256)))
    yield from ((422, base | more) for more in (dict(prompt=''), dict(prompt='x' * 10001), dict(prompt=None), dict(prompt=['a']), dict(max_tokens=0), dict(max_tokens=257), dict(max_tokens=10**30), dict(max_tokens=-1),
        dict(max_tokens=1.5), dict(max_tokens='4'), dict(temperature=-.1), dict(temperature='1'), dict(temperature=1e300), dict(top_p=0), dict(top_p=1.1), dict(n=0), dict(n=9), dict(n=True), dict(seed=-1), dict(seed=2**63),
        dict(stop=['x'] * 5), dict(stop=''), dict(stop=['']), dict(stop=5), dict(stop='x' * 101), dict(stream='yes'), dict(stream=1), dict(logprobs=3), dict(messages=[]), dict(model=''), dict(model='x' * 201)))
    yield 404, base | dict(model='nope'); yield 400, base | dict(model='intent')

def requests():
    "(expected statuses, method, path, headers, body)"
    for status, body in bodies(): yield {status}, 'POST', '/v1/classify', JSON, body if isinstance(body, bytes) else body.encode()
    for status, body in completions(): yield {status}, 'POST', '/v1/completions', JSON, json.dumps(body).encode()
    fine = b'{"text": "where is my parcel"}'
    for kind in ('text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/xml', '', 'application/jsonp', 'application/json; charset=utf-16', 'image/png', '*/*'):
        yield {415}, 'POST', '/v1/classify', {'content-type': kind}, fine
    for kind in ('application/json; charset=utf-8', 'APPLICATION/JSON', 'application/json;charset="UTF-8"'): yield {200}, 'POST', '/v1/classify', {'content-type': kind}, fine
    yield {415}, 'POST', '/v1/classify', JSON | {'content-encoding': 'gzip'}, gzip.compress(fine)
    yield {415}, 'POST', '/v1/classify', JSON | {'content-encoding': 'gzip'}, gzip.compress(b' ' * 50_000_000)
    yield {415}, 'POST', '/v1/classify', JSON | {'content-encoding': 'br'}, fine
    for method in ('GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD', 'TRACE', 'BREW'): yield {405}, method, '/v1/classify', {}, b''
    for path in ('/', '/v1', '/v1/classify/', '/v1/Classify', '/v1//classify', '/v1/%2e%2e/etc/passwd', '/docs', '/redoc', '/v1/classify%00', '/%ff', '/' + 'x' * 5000, '/v1/chat/completions'): yield {404}, 'POST', path, JSON, fine
    yield {200}, 'POST', '/v1/classify?x=' + 'y' * 2000, JSON, fine
    yield {200}, 'POST', '/v1/classify', JSON | {'x-anything': 'z' * 4000, 'accept': 'image/png', 'host': 'evil.example'}, fine

def test_hostile_requests_get_a_right_answer_or_a_reason(server):
    wrong, count = [], 0
    for expected, method, path, headers, body in requests():
        count += 1
        answer = server.client.request(method, path, headers=headers, content=body)
        problem = '' if answer.status_code in expected else f'status {answer.status_code}'
        if method != 'HEAD' and answer.status_code != 200:
            error = answer.json()['error']
            if not (error['type'] and len(error['message']) > 10): problem += ' no reason'
        elif method == 'POST' and '/classify' in path:
            for one in answer.json()['answers']:
                if not (0 < one['confidence'] <= 1 and one['label'] in one['probabilities']): problem += ' wrong answer'
        if 'x-request-id' not in answer.headers: problem += ' no id'
        if problem: wrong.append((problem, sorted(expected), method, path[:40], headers, body[:60], answer.text[:200]))
    assert not wrong, '\n'.join(map(str, wrong))
    assert count >= 200, count
    assert server.client.get('/readyz').status_code == 200

def raw(server, *parts, pause=0., finish=True):
    "Send bytes, return what comes back until the server closes or falls silent."
    where = urlsplit(server.address)
    with socket.create_connection((where.hostname, where.port), timeout=15) as connection:
        try:
            for part in parts: connection.sendall(part); time.sleep(pause)
            if finish: connection.shutdown(socket.SHUT_WR)
            found = b''
            while block := connection.recv(65536):
                found += block
                if not finish and b'\r\n\r\n' in found: break
        except (ConnectionError, TimeoutError): pass
    return found

HEAD = b'POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n'

def test_hostile_connections(server):
    assert b' 408 ' in raw(server, HEAD + b'content-length: 1000\r\n\r\n{"text": ', finish=False).split(b'\r\n')[0]
    chunk = b'10000\r\n' + b' ' * 0x10000 + b'\r\n'
    assert b' 413 ' in raw(server, HEAD + b'transfer-encoding: chunked\r\n\r\n', *[chunk] * 16, b'0\r\n\r\n').split(b'\r\n')[0]
    for bad in (b'\x16\x03\x01\x02\x00', b'GET\r\n\r\n', b'GET / HTTP/9.9\r\n\r\n', HEAD + b'content-length: -5\r\n\r\n', HEAD + b'content-length: x\r\n\r\n', HEAD + b'transfer-encoding: chunked\r\n\r\nzz\r\n',
                b'GET /nowhere HTTP/1.1\r\nhost: x\r\n' + b'a: ' + b'b' * 100_000 + b'\r\n\r\n', HEAD + b'content-length: 5\r\ncontent-length: 6\r\n\r\n12345'):
        found = raw(server, bad)
        assert not found or re.match(rb'HTTP/1.1 4\d\d ', found), found[:100]
    raw(server, HEAD + b'content-length: 100\r\n\r\n{"te')   # leaves in the middle of its body
    assert server.client.post('/v1/classify', json=dict(text='still here')).status_code == 200

# --- clients that leave

def metric(server, name):
    return float(re.search(rf'^{name} (\S+)$', server.client.get('/metrics').text, re.MULTILINE)[1])

def test_clients_that_leave_mid_stream_do_not_hurt(folder):
    server = Server(folder, 'slow')
    try:
        for _ in range(6):
            with server.client.stream('POST', '/v1/completions', json=dict(prompt='To ', max_tokens=256, n=8, stream=True, seed=1)) as answer:
                assert next(answer.iter_lines()).startswith('data: ')
        until = time.monotonic() + 60
        while metric(server, 'elm_waiting') and time.monotonic() < until: time.sleep(.05)
        assert metric(server, 'elm_waiting') == 0
        started = time.monotonic()
        assert server.client.post('/v1/classify', json=dict(text='where is my parcel')).status_code == 200
        assert time.monotonic() - started < 5
    finally: server.stop()

def test_sigterm_finishes_what_it_began(folder):
    server, events = Server(folder, 'slow'), []
    try:
        with server.client.stream('POST', '/v1/completions', json=dict(prompt='To ', max_tokens=150, stream=True, seed=1)) as answer:
            lines = answer.iter_lines()
            events.append(next(lines))
            server.process.send_signal(signal.SIGTERM)
            events += [line for line in lines if line]
        assert events[-1] == 'data: [DONE]'
        assert server.process.wait(15) == 0
    finally: server.stop()

# --- what operators need

def test_rollback_changes_the_answers_and_drops_no_request(server, folder):
    settings, seen, stop = get_settings(folder), [], threading.Event()
    def ask():
        with httpx.Client(base_url=server.address, timeout=30) as client:
            while not stop.is_set():
                answer = client.post('/v1/classify', json=dict(text='I want my money back'))
                seen.append((answer.status_code, answer.json().get('version')))
    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking: thread.start()
    def wait_for(version):
        until = time.monotonic() + 90
        while seen[-1:] != [(200, version)] and time.monotonic() < until: time.sleep(.02)
        assert seen[-1] == (200, version)
    try:
        wait_for('2'); rollback('intent', settings)
        wait_for('1'); rollback('intent', settings)
        wait_for('2')
    finally:
        stop.set()
        for thread in asking: thread.join()
    assert {status for status, _ in seen} == {200} and {version for _, version in seen} == {'1', '2'}

def test_log_and_metrics_hold_no_text(server):
    marker = 'unmistakable marker 0x5EC2E7'
    server.client.post('/v1/classify', json=dict(text=marker)); server.client.post('/v1/classify', json={marker: 1})
    server.client.get(f'/{marker}?q={marker}'); server.client.post('/v1/completions', json=dict(prompt=marker, max_tokens=2))
    logged, metrics = server.logged(), server.client.get('/metrics').text
    assert '"route": "/v1/classify", "status": 200' in logged
    assert all('5EC2E7' not in text for text in (logged, metrics))
    assert 'route="unmatched"' in metrics and 'elm_model_loaded{model="intent"' in metrics

def test_starts_before_there_is_a_model_and_picks_it_up(tmp_path):
    server = Server(tmp_path)
    try:
        assert 'no model yet' in server.told
        ready, asked = server.client.get('/readyz'), server.client.post('/v1/classify', json=dict(text='hello'))
        assert (ready.status_code, asked.status_code, server.client.get('/healthz').status_code) == (503, 503, 200)
        assert ready.json()['error']['type'] == 'not_ready' and 'retry-after' in asked.headers
        released(get_settings(tmp_path), 'intent', TfidfClassifier().fit(['my parcel', 'my money'], ['order', 'refund']))
        until = time.monotonic() + 90
        while server.client.get('/readyz').status_code != 200 and time.monotonic() < until: time.sleep(.05)
        assert server.client.post('/v1/classify', json=dict(text='my money')).json()['answers'][0]['label'] == 'refund'
    finally: assert server.stop() == 0
