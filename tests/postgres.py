"""A throw-away PostgreSQL for tests: its own folder, its own port, gone at the end."""
import os, pwd, shutil, socket, subprocess, tempfile
from pathlib import Path

import pytest

programs = sorted(Path('/usr/lib/postgresql').glob('*/bin/initdb'), key=lambda p: int(p.parts[4]) if p.parts[4].isdecimal() else 0)


def _free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def _user():
    "Whoever may run it: PostgreSQL refuses to be started by root."
    if os.getuid(): return {}
    for name in ('postgres', 'nobody'):
        try: found = pwd.getpwnam(name)
        except KeyError: continue
        return dict(user=found.pw_uid, group=found.pw_gid, extra_groups=[])
    pytest.skip('PostgreSQL cannot run as root, and there is no user postgres or nobody')


@pytest.fixture(scope='session')
def postgres():
    "The SQLAlchemy address of an empty database `test`, on 127.0.0.1, password and all."
    if not programs: pytest.skip('PostgreSQL is not installed: apt-get install postgresql')
    pytest.importorskip('psycopg', reason='psycopg is not installed: pip install enterprise_lm[server]')
    place, who, port = programs[-1].parent, _user(), _free_port()
    folder = Path(tempfile.mkdtemp(prefix='pg-', dir='/tmp'))
    environment = dict(PATH=f'{place}:/usr/bin:/bin', LC_ALL='C.UTF-8', HOME=str(folder), TZ='UTC')
    (folder/'password').write_text('p@ss#word\n')
    if who: [os.chown(p, who['user'], who['group']) for p in (folder, folder/'password')]

    def run(*command):
        done = subprocess.run([str(place/command[0]), *map(str, command[1:])], env=environment, cwd=folder, capture_output=True, text=True, timeout=60, **who)
        assert done.returncode == 0, f'{command[0]} ended with {done.returncode}: {done.stderr[-1000:]}'
    try:
        run('initdb', '-D', folder/'data', '-U', 'ann', '--pwfile', folder/'password', '-A', 'scram-sha-256', '-E', 'UTF8', '--no-sync')
        # pg_ctl's own pipes would be inherited by the server and never close: it logs to a file
        subprocess.run([str(place/'pg_ctl'), '-D', str(folder/'data'), '-w', '-t', '30', '-l', str(folder/'log'), '-o',
                        f'-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off -c synchronous_commit=off', 'start'],
                       env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=True, **who)
        try:
            url = f'postgresql+psycopg://ann:p%40ss%23word@127.0.0.1:{port}/'
            import sqlalchemy
            engine = sqlalchemy.create_engine(url + 'postgres', isolation_level='AUTOCOMMIT', poolclass=sqlalchemy.NullPool)
            with engine.connect() as connection: connection.exec_driver_sql('CREATE DATABASE test')
            yield url + 'test'
        finally: run('pg_ctl', '-D', folder/'data', '-m', 'immediate', '-w', 'stop')
    finally: shutil.rmtree(folder, ignore_errors=True)
