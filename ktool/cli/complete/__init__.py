"""Completion: `ktool __complete WORD...` answers a shell's Tab key, as kubectl's hidden command of that name does.

    scripts      what the shells are given: ask the program, show what it says
    answer       the protocol: candidates, one a line, and a directive; silent whatever happens
    cmdline      the words before the cursor: verb, options and their values, arguments
    candidates   what may stand at the cursor: verbs, options, values, kinds, names, containers
    cluster      the lists that come from the cluster

`cli/main` calls `answer` before it builds any command; only the module of the verb on the line is imported.
"""
