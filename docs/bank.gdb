# From what went wrong in guest/user/bank.c back to why, by itself. It is given a replay of a run in which something was lost:
# gdb -nx -batch -ex 'target remote :1234' -x docs/bank.gdb build/guest/bank
# docs/debugging.md goes the same way by hand.
set pagination off
set confirm off
set width 0

echo \n* The symptom: on to where the loss is noticed\n
break missing
continue
backtrace 2
print *vault

echo \n* Back to where somebody pays in to another balance than there is\n
delete
watch -l vault->balance
set $tries = 0
set $found = 0
while !$found && $tries < 1000
	reverse-continue
	set $tries = $tries + 1
	set $found = balance != vault->balance
	if !$found
		printf "Honest: it has read %lu, that is what is there, and it makes it %lu\n", balance, balance + amount
	end
end
set $amount = amount
set $read = balance
set $lost = vault->balance
printf "\n* A lost update: the vault holds %lu, but this teller has read %lu, and makes it %lu\n", $lost, $read, $read + $amount
backtrace 2
info locals
print *vault
monitor position

printf "\n* Back to where this teller read the balance; on the way, who paid in behind its back\n"
break deposit if amount == $amount
reverse-continue
while amount != $amount && $tries < 1000
	printf "Behind its back: another has read %lu, and makes it %lu\n", balance, balance + amount
	reverse-continue
	set $tries = $tries + 1
end
printf "\n* The cause: here it reads %lu; when it writes %lu, the others have made it %lu, and that is lost\n", vault->balance, $read + $amount, $lost
backtrace 2
monitor position
monitor events
kill
