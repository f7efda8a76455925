# SPDX-License-Identifier: BSD-3-Clause
# Completion of 'dlslime' for bash: verbs, options, their values, files.

# What may follow option $1, as the list $values or as files ($files is not empty).
_dlslime_values() {
	values='' files=''
	case $1 in
	--transport) values='shm tcp loopback rdma cuda_ipc ascend' ;;
	--op) values='read write write_imm send' ;;
	--mem) values='alloc malloc' ;;
	--size | --footprint | --stride) values='8 64 4K 64K 1M 64M 1G' ;;
	--ctrl) values='http://127.0.0.1:3000' ;;
	--token-file | --ca | --cert | --key) files=1 ;;
	--bind) values='127.0.0.1 ::1 0.0.0.0 ::' ;;
	--output | -o) files=1 ;;
	--port | --depth | --batch | --threads | --lanes | --seconds | --iters | --warmup | --cpu | \
		--peer-cpu | --timeout | --pid | --scope | --name | --every | --count) ;;
	*) return 1 ;;
	esac
}

_dlslime() {
	local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]}
	local verb=${COMP_WORDS[1]} values files
	local measure='--transport --mem --op --size --depth --batch --stride --threads --lanes
		--seconds --iters --warmup --footprint --cpu --peer-cpu --poll --block --verify --json'

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W 'info doctor perf serve get peers regions resources ping links
			--help --version' -- "$word")
		return
	fi
	if _dlslime_values "$last"; then
		if [[ $files ]]; then
			compopt -o filenames
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
		else
			mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
		fi
		return
	fi
	case $verb in
	info) values='--json --env' ;;
	doctor) values='--json --pid' ;;
	peers | regions | resources) values='--ctrl --scope --token-file --ca --cert --key --json' ;;
	ping) values='--count --every --transport --ctrl --scope --token-file --ca --cert --key --json' ;;
	links) values='--every --ctrl --scope --token-file --ca --cert --key --json' ;;
	serve) values='--bind --port --transport --name --ctrl --scope --token-file --ca --cert --key' ;;
	get) values='--output --force --transport --timeout --json --ctrl --scope --token-file --ca --cert --key' ;;
	perf)
		if ((COMP_CWORD == 2)); then
			values='serve run local'
		elif [[ ${COMP_WORDS[2]} == serve ]]; then
			values='--bind --port --cpu'
		else
			values=$measure
		fi
		;;
	esac
	if [[ $verb == serve && $word != -* ]]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
	fi
	mapfile -t COMPREPLY < <(compgen -W "$values --help" -- "$word")
}

complete -F _dlslime dlslime
