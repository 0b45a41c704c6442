/* A PKCS#11 module around another one (`BRS_FAULTY_MODULE`), with faults that files in the folder `BRS_FAULTY_FOLDER`
 * switch on: while there is `closed`, no signature begins; what `failing` names ("pss 384", "pkcs1 512") fails with
 * CKR_GENERAL_ERROR. The list of functions is that of PKCS#11 2.40. */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long number;
typedef struct { number kind; void *parameter; number length; } mechanism;
typedef number sign_init(number session, mechanism *how, number key);
typedef number sign(number session, unsigned char *data, number length, unsigned char *signature, number *signature_length);

enum { SIGN_INIT = 42, SIGN = 43, FUNCTIONS = 68 };
enum { RSA_PKCS = 0x1, RSA_PKCS_PSS = 0xd, GENERAL_ERROR = 0x5 };

static struct { unsigned char version[2]; void *functions[FUNCTIONS]; } list;
static sign_init *real_init;
static sign *real_sign;
/* One thread signs at a time. */
static number kind;

static FILE *file(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("BRS_FAULTY_FOLDER"), name);
    return fopen(path, "r");
}

static int fails(number length)
{
    char text[256] = "", name[32];
    FILE *failing = file("failing");
    if (failing == NULL)
        return 0;
    text[fread(text, 1, sizeof text - 1, failing)] = 0;
    fclose(failing);
    /* A DigestInfo is 19 bytes longer than its digest. */
    snprintf(name, sizeof name, kind == RSA_PKCS ? "pkcs1 %lu" : "pss %lu", 8 * (kind == RSA_PKCS ? length - 19 : length));
    return (kind == RSA_PKCS || kind == RSA_PKCS_PSS) && strstr(text, name) != NULL;
}

static number faulty_init(number session, mechanism *how, number key)
{
    kind = how->kind;
    return real_init(session, how, key);
}

static number faulty_sign(number session, unsigned char *data, number length, unsigned char *signature, number *signature_length)
{
    FILE *closed;
    while ((closed = file("closed")) != NULL) {
        fclose(closed);
        usleep(1000);
    }
    if (fails(length)) {
        /* An operation that fails is over. */
        unsigned char end[1024];
        number room = sizeof end;
        real_sign(session, data, length, end, &room);
        return GENERAL_ERROR;
    }
    return real_sign(session, data, length, signature, signature_length);
}

number C_GetFunctionList(void **found)
{
    void *module = dlopen(getenv("BRS_FAULTY_MODULE"), RTLD_NOW);
    number (*get)(void **) = module == NULL ? NULL : (number (*)(void **))dlsym(module, "C_GetFunctionList");
    void *real;
    if (get == NULL || get(&real) != 0)
        return GENERAL_ERROR;
    memcpy(&list, real, sizeof list);
    real_init = (sign_init *)list.functions[SIGN_INIT];
    real_sign = (sign *)list.functions[SIGN];
    list.functions[SIGN_INIT] = (void *)faulty_init;
    list.functions[SIGN] = (void *)faulty_sign;
    *found = &list;
    return 0;
}
