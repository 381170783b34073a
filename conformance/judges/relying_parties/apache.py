"""Apache with mod_auth_openidc in front of a page, as Debian ships them.

    python apache.py ISSUER CLIENT_ID CLIENT_SECRET PORT

Everything below `/` is for people who are signed in; `/callback?info=json` tells the session, and
`/callback?logout=URL` ends it. Its files are in a directory of its own that goes with it.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

MODULES = Path("/usr/lib/apache2/modules")
WANTED = ("mpm_event", "authn_core", "authz_core", "authz_user", "auth_openidc", "dir", "mime")


def configuration(directory, issuer, client, secret, port):
    origin = f"http://127.0.0.1:{port}"
    modules = "\n".join(f"LoadModule {name}_module {MODULES / f'mod_{name}.so'}" for name in WANTED)
    return f"""
{modules}
ServerRoot {directory}
PidFile {directory}/pid
DefaultRuntimeDir {directory}
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
User www-data
Group www-data
ErrorLog /dev/stderr
LogLevel warn auth_openidc:info
DocumentRoot {directory}/pages
TypesConfig /etc/mime.types
StartServers 1
ServerLimit 2
ThreadsPerChild 16
MaxRequestWorkers 32

OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID {client}
OIDCClientSecret {secret}
OIDCRedirectURI {origin}/callback
OIDCCryptoPassphrase {secrets.token_hex(32)}
OIDCScope "openid profile email"
OIDCPKCEMethod S256
OIDCInfoHook id_token userinfo session
OIDCRemoteUserClaim preferred_username
OIDCDefaultLoggedOutURL {origin}/bye.html

<Directory {directory}/pages>
    Require all granted
</Directory>
<Location />
    AuthType openid-connect
    Require valid-user
</Location>
<Location /bye.html>
    AuthType none
    Require all granted
</Location>
"""


def main():
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        pages = directory / "pages"
        pages.mkdir()
        page = '<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>{0}</title><p id="{0}">{0}'
        (pages / "index.html").write_text(page.format("inside"))
        (pages / "bye.html").write_text(page.format("bye"))
        file = directory / "apache.conf"
        file.write_text(configuration(directory, *sys.argv[1:]))
        file.chmod(0o600)
        server = subprocess.Popen(["/usr/sbin/apache2", "-f", file, "-DFOREGROUND"], env={"PATH": os.environ["PATH"]})
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.terminate())
        sys.exit(server.wait())


if __name__ == "__main__":
    main()
