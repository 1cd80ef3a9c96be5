#!/bin/sh
# Makes the secrets of deploy/compose.yaml that do not exist yet, each in a file; changes none that does.
#
#   sh secrets.sh [FOLDER]     default: secrets, beside this file
#
# Only the owner may enter the folder. The files in it are readable to everybody, as users of containers differ from those
# of the host, and a container is given its files one by one.
set -eu
umask 077
cd "$(dirname "$0")"
folder=${1:-secrets}
mkdir -p "$folder"
chmod 700 "$folder"
folder=$(cd "$folder" && pwd)

random() {
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# put NAME TEXT: complete or not at all
put() {
  [ -s "$folder/$1" ] && return
  printf '%s\n' "$2" > "$folder/$1.new"
  chmod 444 "$folder/$1.new"
  mv "$folder/$1.new" "$folder/$1"
  echo "made $folder/$1"
}

# two files with one password: both or none
pair() {
  if [ -s "$folder/$1" ] && [ -s "$folder/$3" ]; then return; fi
  if [ -s "$folder/$1" ] || [ -s "$folder/$3" ]; then
    echo "$folder has only one of $1 and $3, which belong together: remove it, or restore the other." >&2
    exit 1
  fi
  put "$1" "$2"
  put "$3" "$4"
}

put secret "$(random)"
put message_key "$(random)"
password=$(random)
pair rabbitmq.conf "default_user = packshot
default_pass = $password" queue_url "amqp://packshot:$password@rabbitmq:5672"
password=$(random)
pair valkey.conf "requirepass $password" status_url "redis://default:$password@valkey:6379"
put s3_user packshot
put s3_password "$(random)"
put grafana_password "$(random)"
put smtp_password 'of the mail server in alertmanager.yml'
echo "SECRETS_DIR=$folder"
