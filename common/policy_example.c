/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "common/policy.h"

static const char before[] =
    "# Who may do what on this agent: roles, and grants of roles to identities. What is not "
    "allowed\n"
    "# here is denied. telex-policy(5) says all of it; `telex policy check FILE` finds mistakes, "
    "and\n"
    "# `telex policy explain IDENTITY run -- /usr/bin/id` tells what becomes of a request and "
    "why.\n"
    "# A running agent takes it up with `systemctl reload telexd` (SIGHUP).\n"
    "#\n"
    "# In patterns * is any text without a /, ** any text, ? one character.\n"
    "\n"
    "# Everything, as anybody: for who could log in as root as well.\n"
    "role operator {\n"
    "\tmethods = {\"**\"}\n"
    "\tcommand \"**\" {}\n"
    "\tusers = {\"*\", \"*:*\"}\n"
    "\t# Variables by which programs run other code are never meant by *: those that you want\n"
    "\t# are named.\n"
    "\tenvironment = {\"*\", \"LD_LIBRARY_PATH\", \"LD_PRELOAD\"}\n"
    "\tdirectories = {\"**\"}\n"
    "\tterminal = true\n"
    "\tany_process = true\n"
    "\tsignals = {\"*\"}\n"
    "\trlimits = {\"*\"}\n"
    "\tmin_nice = -20\n"
    "\tread = {\"**\"}\n"
    "\twrite = {\"**\"}\n"
    "\twatch = {\"**\"}\n"
    "}\n"
    "\n"
    "# Sees what runs, its own and others', and changes nothing.\n"
    "role read-only {\n"
    "\tmethods = {\n"
    "\t\t\"telex.v1.SystemService/GetInfo\",\n"
    "\t\t\"telex.v1.ProcessService/List\",\n"
    "\t\t\"telex.v1.ProcessService/Get\",\n"
    "\t\t\"telex.v1.ProcessService/GetGroup\",\n"
    "\t\t\"grpc.health.v1.Health/*\"\n"
    "\t}\n"
    "\tany_process = true\n"
    "\tcalls_per_second = 50\n"
    "}\n"
    "\n"
    "# Restarts one application and runs its own programs, as its user, and puts its files there. "
    "An\n"
    "# argument is matched by one pattern; a last \"**\" is for any more.\n"
    "role deploy {\n"
    "\tmethods = {\"telex.v1.ProcessService/*\", \"telex.v1.FileService/*\",\n"
    "\t\t\"telex.v1.WatchService/*\", \"telex.v1.SystemService/GetInfo\", "
    "\"grpc.health.v1.Health/*\"}\n"
    "\tcommand \"/usr/bin/systemctl\" { arguments = {\"restart\", \"app-*\"} }\n"
    "\tcommand \"/usr/bin/systemctl\" { arguments = {\"status\", \"app-*\"} }\n"
    "\tcommand \"/opt/app/bin/*\" {}\n"
    "\tusers = {\"deploy\"}\n"
    "\tenvironment = {\"LANG\", \"LC_*\", \"APP_*\"}\n"
    "\tdirectories = {\"/srv/app/**\"}\n"
    "\tread = {\"/srv/app/**\", \"/var/log/app/**\"}\n"
    "\twrite = {\"/srv/app/**\"}\n"
    "\twatch = {\"/srv/app/**\"}\n"
    "\tmax_upload = 10GiB\n"
    "\tmax_running = 20\n"
    "}\n"
    "\n"
    "# Any program, but as nobody, for a while, and not much of it.\n"
    "role sandbox {\n"
    "\tmethods = {\"telex.v1.ProcessService/*\"}\n"
    "\tcommand \"/usr/bin/*\" {}\n"
    "\tusers = {\"nobody\"}\n"
    "\tdirectories = {\"/tmp\"}\n"
    "\tterminal = true\n"
    "\tmax_memory = 512MiB\n"
    "\tmax_pids = 64\n"
    "\tmax_cpu = 1\n"
    "\tmax_run_timeout = 10m\n"
    "\tmax_spool = 64MiB\n"
    "\tmax_running = 4\n"
    "\tcalls_per_second = 20\n"
    "\tconcurrent_calls = 16\n"
    "}\n"
    "\n"
    "grant operators {\n"
    "\tidentities = {\"";
static const char after[] = "\"}\n"
                            "\troles = {\"operator\"}\n"
                            "}\n"
                            "\n"
                            "#grant watchers {\n"
                            "#\tidentities = {\"spiffe://example.org/user/*\"}\n"
                            "#\troles = {\"read-only\"}\n"
                            "#}\n";

char *policy_example(const char *identity)
{
	char *text = malloc(sizeof(before) + sizeof(after) + strlen(identity) * 4), *at;

	if (text == NULL)
		return NULL;
	memcpy(text, before, sizeof(before) - 1);
	at = text + sizeof(before) - 1;
	for (; *identity != '\0'; identity++) {
		/* Literally, to the pattern and to the text's quotes. */
		if (strchr("*?\\", *identity) != NULL) {
			*at++ = '\\';
			*at++ = '\\';
		}
		if (strchr("\"\\", *identity) != NULL)
			*at++ = '\\';
		*at++ = *identity;
	}
	memcpy(at, after, sizeof(after));
	return text;
}
