%% Serve a folder with Erlang's ssh_sftpd: PORT SYSTEM_DIR FOLDER USER PASSWORD.
main([Port, SystemDir, Folder, User, Password]) ->
    {ok, _} = application:ensure_all_started(ssh),
    {ok, _} = ssh:daemon({127, 0, 0, 1}, list_to_integer(Port), [
        {system_dir, SystemDir},
        {user_passwords, [{User, Password}]},
        {auth_methods, "password"},
        {subsystems, [ssh_sftpd:subsystem_spec([{root, Folder}])]}
    ]),
    timer:sleep(infinity).
