# SPDX-License-Identifier: BSD-3-Clause
# Completion of 'nanoctrl' and 'dlslime-ctrl' for bash: verbs, options, their values, files.

_nanoctrl() {
	local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD - 1]} values
	local server='--host --port --listen --db --redis-url --token-file --tls-cert --tls-key
		--tls-client-ca --body-limit --connection-limit --idle-timeout --request-timeout
		--drain-timeout --max-records --max-box-bytes --max-box-messages --log-level --log-file'

	COMPREPLY=()
	case $last in
	--db | --token-file | --tls-cert | --tls-key | --tls-client-ca | --log-file)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--host | --health-host) values='127.0.0.1 0.0.0.0 ::1 ::' ;;
	--log-level) values='error warn info debug' ;;
	-*) ;; # a number, an address: nobody can guess it
	*)
		case ${COMP_WORDS[1]} in
		start) values="$server --health-host --health-port --wait" ;;
		status) values='--address' ;;
		stop) values='--timeout --force' ;;
		obs) values='status peers nics links' ;;
		*) values="$server" ;;
		esac
		values="$values --help"
		((COMP_CWORD > 1)) || values="server start status stop obs top --version $values"
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
}

complete -F _nanoctrl nanoctrl dlslime-ctrl
