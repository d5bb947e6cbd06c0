/* SPDX-License-Identifier: Apache-2.0 */
/* `telex completion`: a script for a shell, made of the tables of verbs and options. */
#include <stdio.h>
#include <string.h>

#include "cli/options.h"
#include "cli/verbs.h"

/* The ids that the agent holds, one a line. */
#define IDS "telex -q ps -aq 2>/dev/null"

static const char *const shells[] = {"bash", "zsh", "fish", NULL};

/* " -i --stdin -n …" */
static void print_options(const struct options_spec *specs)
{
	for (; specs && specs->id; specs++) {
		if (specs->letter)
			printf(" -%c", specs->letter);
		if (specs->name)
			printf(" --%s", specs->name);
	}
}

static void print_verbs(void)
{
	for (const struct cli_verb *const *v = cli_verbs; *v; v++)
		printf(" %s", (*v)->name);
}

static void print_words(const struct cli_verb *verb)
{
	for (const char *const *word = verb->words; word && *word; word++)
		printf(" %s", *word);
	if (verb == &cmd_help)
		print_verbs();
}

/* "-w | --on | --context", of a table's options that take a value. */
static void print_taking(const struct options_spec *specs)
{
	const char *bar = "";

	for (; specs->id; specs++) {
		if (!specs->takes)
			continue;
		if (specs->letter) {
			printf("%s-%c", bar, specs->letter);
			bar = " | ";
		}
		if (specs->name) {
			printf("%s--%s", bar, specs->name);
			bar = " | ";
		}
	}
}

/* ---- bash ---- */

static void bash_verb(const struct cli_verb *verb)
{
	printf("\t%s)\n\t\twords='", verb->name);
	print_options(verb->specs);
	print_options(options_globals);
	print_words(verb);
	fputs("'\n", stdout);
	if (verb->takes_id)
		fputs("\t\t[[ $cur == -* ]] || words+=\" $(" IDS ")\"\n", stdout);
	fputs("\t\t;;\n", stdout);
}

static void print_bash(void)
{
	fputs("# bash completion for telex, made by `telex completion bash`\n"
	      "_telex() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} verb= words= i\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tcase ${COMP_WORDS[i]} in\n"
	      "\t\t--) return ;;\n"
	      "\t\t",
	    stdout);
	print_taking(options_globals);
	fputs(") [[ $verb ]] || ((i++)) ;;\n"
	      "\t\t-*) ;;\n"
	      "\t\t*) [[ $verb ]] || verb=${COMP_WORDS[i]} ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tcase $verb in\n"
	      "\t'')\n\t\twords='",
	    stdout);
	print_verbs();
	print_options(options_globals);
	fputs("'\n\t\t;;\n", stdout);
	for (const struct cli_verb *const *v = cli_verbs; *v; v++)
		bash_verb(*v);
	fputs("\tesac\n"
	      "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	      "}\n"
	      "complete -o default -F _telex telex\n",
	    stdout);
}

/* ---- zsh ---- */

static void zsh_verb(const struct cli_verb *verb)
{
	printf("\t%s)\n\t\tcompadd --", verb->name);
	print_options(verb->specs);
	print_options(options_globals);
	print_words(verb);
	fputs("\n", stdout);
	if (verb->takes_id)
		fputs("\t\t[[ $PREFIX == -* ]] || compadd -- ${(f)\"$(" IDS ")\"}\n", stdout);
	fputs("\t\t;;\n", stdout);
}

static void print_zsh(void)
{
	fputs("#compdef telex\n"
	      "# zsh completion for telex, made by `telex completion zsh`\n"
	      "_telex() {\n"
	      "\tlocal verb= i\n"
	      "\tfor ((i = 2; i < CURRENT; i++)); do\n"
	      "\t\tcase $words[i] in\n"
	      "\t\t--) _files; return ;;\n"
	      "\t\t",
	    stdout);
	print_taking(options_globals);
	fputs(") [[ -n $verb ]] || ((i++)) ;;\n"
	      "\t\t-*) ;;\n"
	      "\t\t*) [[ -n $verb ]] || verb=$words[i] ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tcase $verb in\n"
	      "\t'')\n\t\tcompadd --",
	    stdout);
	print_verbs();
	print_options(options_globals);
	fputs("\n\t\treturn\n\t\t;;\n", stdout);
	for (const struct cli_verb *const *v = cli_verbs; *v; v++)
		zsh_verb(*v);
	fputs(
	    "\tesac\n"
	    "\t[[ $PREFIX == -* ]] || _files\n"
	    "}\n"
	    "if [[ $funcstack[1] == _telex ]]; then _telex \"$@\"; else compdef _telex telex; fi\n",
	    stdout);
}

/* ---- fish ---- */

static void fish_option(const char *when, const struct options_spec *spec)
{
	printf("complete -c telex -n '%s'", when);
	if (spec->letter)
		printf(" -s %c", spec->letter);
	if (spec->name)
		printf(" -l %s", spec->name);
	puts(spec->takes ? " -r" : "");
}

static void fish_verb(const struct cli_verb *verb)
{
	char when[80];

	snprintf(when, sizeof(when), "__fish_seen_subcommand_from %s", verb->name);
	printf("complete -c telex -n __fish_use_subcommand -f -a %s -d '%s'\n", verb->name,
	    verb->summary);
	for (const struct options_spec *s = verb->specs; s && s->id; s++)
		fish_option(when, s);
	if (verb->words || verb == &cmd_help) {
		printf("complete -c telex -n '%s' -f -a '", when);
		print_words(verb);
		puts("'");
	}
	if (verb->takes_id)
		printf("complete -c telex -n '%s' -f -a \"(" IDS ")\"\n", when);
}

static void print_fish(void)
{
	puts("# fish completion for telex, made by `telex completion fish`");
	for (const struct options_spec *s = options_globals; s->id; s++)
		fish_option("true", s);
	for (const struct cli_verb *const *v = cli_verbs; *v; v++)
		fish_verb(*v);
}

/* ---- the verb ---- */

static int run(struct cli *cli, int argc, char **argv)
{
	struct options o;
	const char *value, *shell;

	options_start(&o, cli, &cmd_completion, NULL, argc, argv);
	if (options_next(&o, &value) < 0)
		return options_end(&o);
	shell = o.n_operands == 1 ? o.operands[0] : "";
	if (o.n_operands != 1)
		options_usage(&o, "for which shell? bash, zsh or fish");
	else if (strcmp(shell, "bash") == 0)
		print_bash();
	else if (strcmp(shell, "zsh") == 0)
		print_zsh();
	else if (strcmp(shell, "fish") == 0)
		print_fish();
	else
		options_usage(
		    &o, "'%s' is not a shell that is known here: bash, zsh or fish", shell);
	return options_end(&o);
}

const struct cli_verb cmd_completion = {
    .name = "completion",
    .summary = "a completion script for a shell",
    .words = shells,
    .help = "Examples:\n"
            "  source <(telex completion bash)\n"
            "  telex completion bash >~/.local/share/bash-completion/completions/telex\n"
            "  telex completion zsh >~/.zfunc/_telex\n"
            "  telex completion fish >~/.config/fish/completions/telex.fish\n"
            "\n"
            "Usage: telex completion bash|zsh|fish\n"
            "\n"
            "Verbs, options, and the ids of processes, for which the agent is asked.\n",
    .run = run,
};
