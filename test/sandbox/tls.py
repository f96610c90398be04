"""Certificates for the listeners, made by the openssl command where they are absent."""

import os
import ssl
import subprocess

# file name: (common name, subjectAltName, signing authority, valid)
LEAVES = {
    "server": ("localhost", "DNS:localhost,IP:127.0.0.1,IP:::1", "ca", True),
    "wrong-host": ("wrong.example", "DNS:wrong.example", "ca", True),
    "expired": ("localhost", "DNS:localhost,IP:127.0.0.1,IP:::1", "ca", False),
    "untrusted": ("localhost", "DNS:localhost,IP:127.0.0.1,IP:::1", "other-ca", True),
}


def openssl(*arguments):
    """Run openssl quietly; its complaint is in the exception."""
    done = subprocess.run(("openssl",) + arguments, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError("openssl %s: %s" % (arguments[0], done.stderr.strip()))


def new_key(path):
    """A new private key that only its owner may read."""
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    os.chmod(path, 0o600)


def make_authority(directory, name):
    """NAME.pem and NAME.key, if they are absent."""
    certificate = os.path.join(directory, name + ".pem")
    key = os.path.join(directory, name + ".key")
    if not os.path.exists(certificate):
        new_key(key)
        openssl("req", "-x509", "-new", "-key", key, "-days", "3650", "-subj",
                "/CN=cupsource sandbox %s" % name, "-addext", "keyUsage=critical,keyCertSign",
                "-out", certificate)
    return certificate, key


def make_leaf(directory, name):
    """NAME.pem and NAME.key for a listener, if they are absent."""
    common_name, alternatives, authority, valid = LEAVES[name]
    certificate = os.path.join(directory, name + ".pem")
    key = os.path.join(directory, name + ".key")
    if os.path.exists(certificate):
        return certificate, key
    ca_certificate, ca_key = make_authority(directory, authority)
    request = os.path.join(directory, name + ".csr")
    extensions = os.path.join(directory, name + ".ext")
    new_key(key)
    openssl("req", "-new", "-key", key, "-subj", "/CN=" + common_name, "-out", request)
    with open(extensions, "w", encoding="ascii") as file:
        file.write("subjectAltName=%s\nextendedKeyUsage=serverAuth\n"
                   "basicConstraints=critical,CA:FALSE\n" % alternatives)
    signing = ["x509", "-req", "-in", request, "-CA", ca_certificate, "-CAkey", ca_key,
               "-set_serial", "0x%s" % os.urandom(8).hex(), "-extfile", extensions,
               "-out", certificate]
    if valid:
        openssl(*signing, "-days", "3650")
    else:
        try:
            openssl(*signing, "-days", "-1")
        except RuntimeError:                    # OpenSSL 3.5 wants it said like this, 3.0 cannot
            openssl(*signing, "-not_before", "20200101000000Z", "-not_after", "20200102000000Z")
    os.unlink(request)
    os.unlink(extensions)
    return certificate, key


def context(directory, name):
    """A server's context with the certificate of this name."""
    os.makedirs(directory, exist_ok=True)
    certificate, key = make_leaf(directory, name)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(certificate, key)
    made.set_alpn_protocols(["http/1.1"])
    return made
