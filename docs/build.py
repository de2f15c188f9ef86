"""Builds what people read from the notebooks: `build.py readme` writes README.md, `build.py site` the documentation.

Neither needs Quarto or a network. The site is nbdev's processed notebooks, put into the form mkdocs-jupyter accepts.
"""
import json, os, re, shutil, subprocess, sys
from pathlib import Path

import yaml

root = Path(__file__).resolve().parents[1]
floors = dict(core='Core', data='Data', models='Models', tasks='Tasks', training='Training', evaluation='Evaluation', release='Release',
              serving='Serving', pipelines='Pipelines', review='Review', app='Application')


sections = {'Data': {0: 'Collect', 12: 'Personal data', 16: 'Names', 20: 'Protect', 30: 'Clean', 40: 'Split and duplicates', 49: 'Judge',
                     61: 'Concepts', 65: 'Corpora', 73: 'Words and features', 80: 'Augment', 87: 'Concepts from text', 90: 'Labels'}}
style = """.jp-InputPrompt, .jp-OutputPrompt {display: none !important}
.md-grid {max-width: 76rem}
.jupyter-wrapper pre, .md-typeset pre > code {white-space: pre !important; overflow-x: auto; word-break: normal !important; overflow-wrap: normal}
.jupyter-wrapper table td, .jupyter-wrapper table th {word-break: normal; overflow-wrap: break-word; text-align: left}
.jupyter-wrapper .jp-RenderedHTMLCommon table {display: block; overflow-x: auto; max-width: 100%}
"""


def text_of(source): return source if isinstance(source, str) else ''.join(source)


def shown(output):
    "An output as Markdown."
    data = output.get('data', {})
    if 'text/markdown' in data: return text_of(data['text/markdown'])
    plain = output.get('text') or data.get('text/plain')
    return f"```text\n{text_of(plain).rstrip()}\n```" if plain else ''


def readme():
    "README.md from nbs/index.ipynb: the cells that are not hidden, with their stored outputs."
    parts = []
    for cell in json.loads((root/'nbs/index.ipynb').read_text(encoding='utf-8'))['cells']:
        source = text_of(cell['source'])
        if cell['cell_type'] == 'markdown': parts.append(source.replace('../docs/', 'docs/').replace('../', ''))
        elif not re.match(r'\s*#\|\s*hide', source):
            parts += [f"```python\n{re.sub(r'^#[|].*', '', source, flags=re.M).strip()}\n```", *filter(None, map(shown, cell.get('outputs', [])))]
    (root/'README.md').write_text('\n\n'.join(p.strip() for p in parts) + '\n', encoding='utf-8')


def normalise(notebook:dict)->dict:
    "A processed notebook in the form nbformat validates: a heading for the front matter, no extra keys, nothing hidden."
    cells = []
    for cell in notebook['cells']:
        source = text_of(cell['source'])
        if cell['cell_type'] == 'raw':
            front = yaml.safe_load(source.strip().strip('-'))
            source = '\n\n'.join([f"# {front['title']}"] * ('title' in front) + [f"> {front['description']}"] * ('description' in front))
            cell = dict(cell_type='markdown')
        if not source.strip(): continue
        kept = dict(id=f'c{len(cells)}', cell_type=cell['cell_type'], metadata={}, source=source)
        if cell['cell_type'] == 'code':
            silent = re.search(r'^\s*#\|\s*echo:\s*false', source, re.M)
            kept |= dict(outputs=cell.get('outputs', []), execution_count=None)
            kept['metadata'] = dict(tags=['hide-input']) if silent else {}
            kept['source'] = re.sub(r'^\s*#\|.*\n?', '', source, flags=re.M)
            kept['outputs'] = json.loads(json.dumps(kept['outputs']).replace('__main__.', ''))
        cells.append(kept)
    return dict(cells=cells, metadata=dict(kernelspec=dict(name='python3', display_name='Python 3', language='python')), nbformat=4, nbformat_minor=5)


def linked(source:str)->str:
    "Links as the site has them: notebooks and papers of the project are pages."
    source = re.sub(r'\]\((?:nbs/)?([^():]+)\.ipynb(#[^)]*)?\)', r'](\1.html\2)', source)
    return re.sub(r'\]\(\.\./([A-Z]+)\.md\)', r'](\1.html)', source).replace('](../docs/', '](docs/')


def placed(floor:str, entries:list)->list:
    "The pages of a floor, under the sections it has; benchmarks come last."
    starts, found = sections.get(floor, {}), {}
    for entry in entries:
        name = Path(*entry.values()).name
        number = int(name[:2]) if name[:2].isdigit() else 0
        section = 'Benchmarks' if 'benchmark' in name else max((n for n in starts if n <= number), default=None)
        found.setdefault(starts.get(section, section), []).append(entry)
    last = found.pop('Benchmarks', [])
    return [*found.pop(None, []), *({name: pages} for name, pages in found.items()), *([{'Benchmarks': last}] if last else [])]


def pages(source:Path, target:Path)->list:
    "Normalised notebooks under `target`; the site's navigation by floor."
    nav = {}
    for path in sorted(source.rglob('*.ipynb')):
        relative = path.relative_to(source)
        page = target/relative
        page.parent.mkdir(parents=True, exist_ok=True)
        made = normalise(json.loads(path.read_text(encoding='utf-8')))
        for cell in made['cells']:
            if cell['cell_type'] == 'markdown': cell['source'] = linked(cell['source'])
        page.write_text(json.dumps(made, ensure_ascii=False), encoding='utf-8')
        title = next((re.match(r'#\s+(.+)', c['source'])[1] for c in made['cells'] if c['source'].startswith('# ')), path.stem)
        floor = re.sub(r'^\d+_', '', relative.parts[0]) if len(relative.parts) > 1 else ''
        nav.setdefault(floor, []).append({title: relative.as_posix()})
    files = {name: entry for entry in nav.pop('', []) for name in entry.values()}
    commands = [files.pop(name) for name in sorted(files, reverse=True) if re.match('9[89]_', name)]
    house = [files.pop(name) for name in sorted(files) if name[0].isdigit()]
    papers = [{path.stem.capitalize(): path.name} for path in sorted(root.glob('[A-Z]*.md')) if path.stem != 'README']
    for entry in papers: shutil.copy(root/Path(*entry.values()), target)
    home = [files.pop('index.ipynb'), {'Use': [*files.values(), *papers]}, {'Commands': commands}]
    rooms = [{floors.get(floor, floor.capitalize()): placed(floors.get(floor, floor), entries)} for floor, entries in nav.items()]
    return [*home, *rooms, {'Around a run': house}]


diagrams = re.compile(r'<script type="module">(?:(?!</script>).)*?\.jp-Mermaid.*?</script>', re.S)


def site():
    "The documentation under site/, which names no other server."
    os.environ['NO_MKDOCS_2_WARNING'] = '1'
    from nbdev.serve import proc_nbs
    os.chdir(root)
    for folder in ('_proc', '_docs', 'site'): shutil.rmtree(root/folder, ignore_errors=True)
    processed = Path(proc_nbs(root/'nbs', n_workers=2, force=True))
    nav = pages(processed, root/'_docs'/'pages')
    (root/'_docs/pages/style.css').write_text(style, encoding='utf-8')
    for extra in ('docs/app.png',):
        if (root/extra).exists():
            (root/'_docs/pages/docs').mkdir(parents=True, exist_ok=True)
            shutil.copy(root/extra, root/'_docs/pages/docs')
    settings = dict(site_name='enterprise_lm', docs_dir=str(root/'_docs/pages'), site_dir=str(root/'site'), nav=nav, use_directory_urls=False, extra_css=['style.css'],
                    theme=dict(name='material', font=False, features=['navigation.tabs', 'navigation.indexes', 'search.highlight', 'toc.follow'],
                               palette=dict(primary='indigo')),
                    plugins=['search', {'mkdocs-jupyter': dict(execute=False, include_source=False, include_requirejs=False, remove_tag_config=dict(remove_input_tags=['hide-input']))}],
                    markdown_extensions=['tables', 'admonition', 'attr_list', 'pymdownx.highlight', 'pymdownx.superfences'])
    (root/'_docs/mkdocs.yml').write_text(yaml.safe_dump(settings, sort_keys=False), encoding='utf-8')
    subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '-q', '-f', '_docs/mkdocs.yml'], check=True)
    for page in (root/'site').rglob('*.html'):  # a page of mkdocs-jupyter names a script on a public server; none of ours has its diagrams
        text = page.read_text(encoding='utf-8')
        page.write_text(diagrams.sub('', text), encoding='utf-8')
    print(root/'site'/'index.html')


if __name__ == '__main__':
    {'readme': readme, 'site': site}[sys.argv[1]]()
