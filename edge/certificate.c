// certificate.c: reads both files with OpenSSL and compares the public keys. A key that
// wants a passphrase is refused: a server has nobody to ask.
#include "edge/certificate.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

static int
no_passphrase(char *out, int size, int is_writing, void *arg)
{
    (void)out, (void)size, (void)is_writing, (void)arg;
    return -1;
}

static FILE *
open_pem(const char *path, char why[static 200])
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        snprintf(why, 200, "cannot read %.120s: %s", path, strerror(errno));
    return file;
}

static X509 *
read_cert(const char *path, char why[static 200])
{
    FILE *file = open_pem(path, why);
    if (file == NULL)
        return NULL;
    X509 *cert = PEM_read_X509(file, NULL, no_passphrase, NULL);
    fclose(file);
    if (cert == NULL)
        snprintf(why, 200, "%.120s is no certificate in PEM form", path);
    return cert;
}

static EVP_PKEY *
read_key(const char *path, char why[static 200])
{
    FILE *file = open_pem(path, why);
    if (file == NULL)
        return NULL;
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
    fclose(file);
    if (key == NULL)
        snprintf(why, 200, "%.120s is no private key in PEM form without a passphrase", path);
    return key;
}

int
certificate_check(const char *cert_file, const char *key_file, char why[static 200])
{
    int error = SY_EINVAL;
    X509 *cert = read_cert(cert_file, why);
    EVP_PKEY *key = cert != NULL ? read_key(key_file, why) : NULL;
    if (key != NULL && X509_check_private_key(cert, key) == 1)
        error = 0;
    else if (key != NULL)
        snprintf(why, 200, "the key in %.70s is not that of the certificate in %.70s", key_file,
                 cert_file);
    X509_free(cert);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return error;
}
