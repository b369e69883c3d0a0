"""Who may do what: the roles, what each may do, and which action each address of Orthanc and of the pages is.

`roles` is the policy, `orthanc_routes` and `page_routes` say what an address does; all three are tables to be read.
"""
