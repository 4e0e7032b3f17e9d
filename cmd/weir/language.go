package main

import (
	_ "embed"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"

	"weir/internal/problem"
)

//go:embed zh.yaml
var chineseText []byte

//go:embed problems.yaml
var messages []byte

var _ = problem.Register(messages)

// translations is what the command line says in Chinese, by what it says in English.
var translations = func() map[string]string {
	known := map[string]string{}
	if err := yaml.UnmarshalWithOptions(chineseText, &known, yaml.Strict()); err != nil {
		panic("zh.yaml: " + err.Error())
	}
	return known
}()

var texts = func() catalog.Catalog {
	b := catalog.NewBuilder(catalog.Fallback(language.English))
	for english, chinese := range translations {
		if err := b.SetString(language.Chinese, english, chinese); err != nil {
			panic("zh.yaml: " + err.Error())
		}
	}
	return b
}()

func printerFor(lang problem.Lang) *message.Printer {
	tag := language.English
	if lang == problem.Chinese {
		tag = language.Chinese
	}
	return message.NewPrinter(tag, message.Catalog(texts))
}

// languageOf finds the language before the command line is parsed, so that its help is in it too.
func languageOf(args []string, getenv func(string) string) problem.Lang {
	for i, a := range args {
		if value, ok := strings.CutPrefix(a, "--lang="); ok {
			return chosenLanguage(value, getenv)
		}
		if a == "--lang" && i+1 < len(args) {
			return chosenLanguage(args[i+1], getenv)
		}
		if a == "--" {
			break
		}
	}
	return chosenLanguage("", getenv)
}

// chosenLanguage is the one that was asked for, else that of the environment (POSIX.1-2017, section 8.2). One that nobody
// speaks here is refused later, in the environment's.
func chosenLanguage(flag string, getenv func(string) string) problem.Lang {
	if flag != string(problem.Chinese) && flag != string(problem.English) {
		flag = ""
	}
	for _, choice := range []string{flag, getenv("WEIR_LANG"), getenv("LC_ALL"), getenv("LC_MESSAGES"), getenv("LANG")} {
		if choice == "" {
			continue
		}
		if strings.HasPrefix(choice, "zh") {
			return problem.Chinese
		}
		return problem.English
	}
	return problem.English
}

// translateHelp puts the help of every command into the person's language.
func translateHelp(n *kong.Node, t *terminal) {
	if t.lang != problem.Chinese {
		return
	}
	into := func(english string) string {
		if chinese, ok := translations[english]; ok {
			return chinese
		}
		return english
	}
	n.Help = into(n.Help)
	for _, f := range n.Flags {
		f.Help = into(f.Help)
	}
	for _, p := range n.Positional {
		p.Help = into(p.Help)
	}
	for _, child := range n.Children {
		translateHelp(child, t)
	}
}
