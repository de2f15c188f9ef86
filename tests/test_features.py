"""Features, vocabularies, words and tags: what was saved is loaded equal, in another process too, and nothing is guessed in silence."""
import os, subprocess, sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from enterprise_lm.core.errors import UserError
from enterprise_lm.data.features import CountFeatures, EncoderFeatures, MergedFeatures, TfidfFeatures, load_features, save_features
from enterprise_lm.data.part_of_speech import PartOfSpeech, PerceptronTagger, Word, from_spacy, links, phrases, read_conllu, syntax_features, tag_text
from enterprise_lm.data.read import read_rows
from enterprise_lm.data.vocabulary import Vocabulary, count_vocabulary, read_vocabulary, unknown_words, write_vocabulary
from enterprise_lm.data.words import Segmenter, read_word_list, spans

texts = ['My lamp is dark, my other lamp too.', '灯坏了，请问怎么退款？', 'Lamp 灯 mixed 123', '', '🙂']
load = '''import sys
from enterprise_lm.data.features import load_features
texts = [l.rstrip("\\n") for l in open(sys.argv[2], encoding="utf-8")]
m = load_features(sys.argv[1]).transform(texts)
print(m.shape, m.data.tobytes().hex()[:20000], 'torch' in sys.modules)'''


def test_another_process_gives_the_same_bytes(tmp_path):
    made = MergedFeatures(TfidfFeatures(), CountFeatures(Segmenter('jieba'), (1, 1), tagger=PartOfSpeech('jieba')), weights=(1, .5)).fit(texts)
    save_features(made, tmp_path/'f')
    (tmp_path/'t.txt').write_text('\n'.join(texts), encoding='utf-8')
    out = subprocess.run([sys.executable, '-c', load, tmp_path/'f', tmp_path/'t.txt'], env=dict(os.environ, PYTHONHASHSEED='5', PYTHONPATH=str(Path(__file__).parents[1])), capture_output=True, text=True, check=True, cwd=tmp_path).stdout.split()
    matrix = made.transform(texts)
    assert out[-2] == matrix.data.tobytes().hex()[:20000] and out[-1] == 'False' and not list(tmp_path.rglob('*.pkl'))
    assert len(made.names) == matrix.shape[1] == len(set(made.names)) and np.isfinite(matrix.data).all()


@given(st.lists(st.text(max_size=40), max_size=6))
@settings(max_examples=100, deadline=None)
def test_any_text_becomes_a_row(given_texts):
    features = MergedFeatures(TfidfFeatures(), CountFeatures()).fit(texts)
    matrix = features.transform(given_texts)
    assert matrix.shape == (len(given_texts), len(features.names)) and np.isfinite(matrix.data).all()


def test_features_say_what_is_wrong(tmp_path):
    for call in (lambda: CountFeatures().transform(['x']), lambda: CountFeatures().fit(['']), lambda: CountFeatures(runs=(2, 1)), lambda: MergedFeatures(), lambda: MergedFeatures(CountFeatures(), weights=(1, 2)),
                 lambda: load_features(tmp_path), lambda: save_features(CountFeatures(), tmp_path), lambda: EncoderFeatures(tmp_path), lambda: Segmenter('list'), lambda: PartOfSpeech('perceptron')):
        with pytest.raises(UserError) as error: call()
        assert '\n' not in str(error.value)


def test_a_word_list_that_changed_is_noticed(tmp_path):
    (tmp_path/'words.txt').write_text('退款\n怎么\n', encoding='utf-8')
    made = CountFeatures(Segmenter('list', str(tmp_path/'words.txt')), (1, 1)).fit(texts)
    save_features(made, tmp_path/'f')
    assert '退款' in made.names and load_features(tmp_path/'f').names == made.names
    (tmp_path/'words.txt').write_text('请问\n', encoding='utf-8')
    with pytest.raises(UserError, match='fit again'): load_features(tmp_path/'f')


def test_a_pickled_encoder_is_refused(tmp_path):
    (tmp_path/'config.json').write_text('{}'); (tmp_path/'pytorch_model.bin').write_bytes(b'\x80\x04.')
    with pytest.raises(UserError, match='safetensors'): EncoderFeatures(tmp_path)


@given(st.dictionaries(st.from_regex(r'[^\s\x00-\x1f\x7f-\x9f\u2028\u2029]{1,8}', fullmatch=True).filter(lambda w: w == w.lower()), st.integers(1, 10**9), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_vocabularies_come_back(counts):
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        made = Vocabulary(dict(sorted(counts.items(), key=lambda c: (-c[1], c[0]))), Segmenter(), sum(counts.values()))
        write_vocabulary(made, Path(folder)/'v.txt')
        assert read_vocabulary(Path(folder)/'v.txt') == made


def test_unknown_words():
    known = count_vocabulary(['my lamp is dark', '灯坏了'])
    assert unknown_words(known, ['My LAMP'])['rate'] == 0 and unknown_words(known, ['zebra zebra lamp 灯'])['rate'] == .5 and unknown_words(known, [])['rate'] == 0
    for bad in ('nothing', 'a\tb\n'):
        with pytest.raises(UserError): read_vocabulary(bad)


@pytest.mark.parametrize('text', ['', '🙂🙂', '灯' * 2_000, 'x' * 100_000, 'a灯b坏c了', '１２３ ＡＢＣ', 'ไม่มี', '\u3000灯\u3000'])
def test_spans_stand_where_the_words_are(text, tmp_path):
    (tmp_path/'w.txt').write_text('灯坏\t3\n坏了\t2\n', encoding='utf-8')
    for segmenter in (Segmenter(), Segmenter('jieba'), Segmenter('list', str(tmp_path/'w.txt'))):
        assert [text[a:b] for a, b in spans(text, segmenter)] == segmenter([text])[0]


def test_word_lists_name_the_line(tmp_path):
    (tmp_path/'w.txt').write_text('灯\nlamp\tmany\n', encoding='utf-8')
    with pytest.raises(UserError, match='w.txt, line 2'): read_word_list(tmp_path/'w.txt')


def test_taggers(tmp_path):
    rows = [[Word('cancel', 'VERB'), Word('my', 'PRON'), Word('order', 'NOUN')], [Word('取消', 'VERB'), Word('订单', 'NOUN')]] * 4
    tagger = PerceptronTagger().fit(rows)
    tagger.save(tmp_path)
    assert PerceptronTagger.load(tmp_path).weights == tagger.weights == PerceptronTagger().fit(rows).weights
    assert tagger.tag(['cancel', 'my', 'order']) == ['VERB', 'PRON', 'NOUN'] and tagger.tag([]) == [] and len(tagger.tag(['🙂'] * 50)) == 50
    for call in (lambda: PerceptronTagger().tag(['x']), lambda: PerceptronTagger().fit([])):
        with pytest.raises(UserError): call()


def test_conllu_names_the_line(tmp_path):
    (tmp_path/'x.conllu').write_text('1\tMy\t_\tPRON\t_\t_\t2\tnmod\t_\t_\n2\tlamp\tNOUN\n')
    with pytest.raises(UserError, match='x.conllu, line 2'): read_conllu(tmp_path/'x.conllu')


class Token:
    "What a spaCy token has."
    def __init__(self, i, text, pos, dep): self.i, self.text, self.pos_, self.dep_, self.is_space = i, text, pos, dep, False


def test_a_parsed_document_gives_dependencies():
    doc = [Token(0, 'The', 'DET', 'det'), Token(1, 'app', 'NOUN', 'nsubj'), Token(2, ',', 'PUNCT', 'punct'), Token(3, 'lost', 'VERB', 'ROOT'), Token(4, 'data', 'NOUN', 'dobj')]
    for token, head in zip(doc, (1, 3, 1, 3, 3)): token.head = doc[head]
    words = from_spacy(doc)
    assert 'nsubj:lost>app' in syntax_features(words) and links(words) == [('app', 'lost', 'data')] and tag_text(words) == 'DET NOUN VERB NOUN'


def test_tags_are_text_for_an_ngram_model():
    from enterprise_lm.models.ngram import NgramLanguageModel
    chinese = [r['text'] for r in read_rows('sample://support?language=zh').table.to_pylist()][:200]
    model = NgramLanguageModel(3).fit([tag_text(s) for s in PartOfSpeech('jieba')(chinese)])
    assert model.perplexity(['PRON PART NOUN VERB'])['token'] < model.perplexity(['PART PART SCONJ PART'])['token']


@given(st.lists(st.sampled_from('NOUN VERB ADJ DET PRON ADP AUX PART NUM X PROPN ADV'.split()), max_size=25))
@settings(max_examples=100, deadline=None)
def test_phrases_do_not_overlap(tags):
    found = phrases([Word(f'w{i}', t) for i, t in enumerate(tags)])
    assert all(a < b for _, a, b in found) and all(x[2] <= y[1] for x, y in zip(found, found[1:]))
    links([Word(f'w{i}', t) for i, t in enumerate(tags)])


@pytest.mark.slow
def test_a_spacy_pipeline_that_is_not_there_is_named():
    with pytest.raises(UserError, match='no_such_pipeline'): PartOfSpeech('spacy', 'no_such_pipeline')(['x'])
